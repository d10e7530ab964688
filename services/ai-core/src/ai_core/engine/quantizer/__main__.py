"""Quantizes one file: ``python -m ai_core.engine.quantizer``.

A :class:`~ai_core.engine.messages.Quantize` comes as a line on the standard input, progress goes as lines to
the standard output, which ends with a ``QuantizeEnd``. The end of the input ends the process.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import sys
import threading

import msgspec

from ai_core.engine.messages import Quantize, QuantizeEnd, QuantizeProgress

_TENSOR = re.compile(r"\[\s*(\d+)/\s*(\d+)\]")
_ERROR = 4
"""Severity of llama.cpp's log lines."""
_NICENESS = 10
_GONE = 3


def main() -> None:
    """Carry out the order on the standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(_NICENESS)
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Quantize)
    threading.Thread(target=_end_with_input, daemon=True).start()
    _tell(QuantizeEnd(quantize(order)))


def quantize(order: Quantize) -> str:
    """Write the target. Returns what is wrong; empty: nothing."""
    try:
        # Not on every machine: `make run` does without.
        import llama_cpp.llama_cpp as lib  # noqa: PLC0415
    except ImportError:
        return "it is not installed; 'make llama' does that"
    complaints: list[str] = []

    def listen(severity: int, text: bytes, _user_data: ctypes.c_void_p) -> None:
        line = text.decode(errors="replace").strip()
        # llama.cpp has no call for progress; its log names each tensor.
        if found := _TENSOR.match(line):
            _tell(QuantizeProgress(int(found[1]), int(found[2])))
        elif severity == _ERROR and line:
            complaints.append(line)

    callback = lib.llama_log_callback(listen)
    lib.llama_log_set(callback, ctypes.c_void_p(0))
    lib.llama_backend_init()
    parameters = lib.llama_model_quantize_default_params()
    parameters.nthread = order.threads
    parameters.ftype = order.file_type
    parameters.allow_requantize = True
    status = lib.llama_model_quantize(order.source.encode(), order.target.encode(), ctypes.byref(parameters))
    if not status:
        return ""
    return complaints[-1] if complaints else f"llama.cpp gives up with status {status}"


def _tell(event: QuantizeProgress | QuantizeEnd) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(event) + b"\n")
    sys.stdout.buffer.flush()


def _end_with_input() -> None:
    # Not through sys.stdin: its lock would be held when the interpreter shuts down.
    while os.read(0, 1_024):
        pass
    os._exit(_GONE)


if __name__ == "__main__":
    main()
