"""The process in which grammars are tried out: ``python -m ai_core.engine.constraints``.

Compiling a schema can take for ever, all memory or the whole process with it (a stack that overflows in
compiled code). Here that costs nobody anything: the engine compiles only what was compiled here
before. Requests come on the standard input and answers go to the standard output, as frames of four
bytes of length (big-endian) and one MessagePack value; the end of the input ends the process.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
from typing import BinaryIO

import msgspec

from ai_core.engine.constraints.bad_grammar import BadGrammar
from ai_core.engine.constraints.compiling import byte_tokenizer
from ai_core.engine.constraints.judging import judge
from ai_core.engine.constraints.vetting import CPU_SECONDS, Verdict, read_frame, write_frame
from ai_core.engine.messages import Grammar

MEMORY_BYTES = 1 << 30
STACK_BYTES = 4 << 20
"""A quarter of what the engine compiles with: what fits here fits there."""
NICENESS = 5


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    threading.stack_size(STACK_BYTES)
    worker = threading.Thread(target=serve, args=(sys.stdin.buffer, sys.stdout.buffer))
    worker.start()
    worker.join()


def serve(requests: BinaryIO, verdicts: BinaryIO) -> None:
    """Judge one grammar after the other."""
    tokenizer = byte_tokenizer()
    while (body := read_frame(requests)) is not None:
        grammar = msgspec.msgpack.decode(body, type=Grammar)
        # Nothing handles this signal: the kernel ends the process, whatever it is doing.
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        try:
            verdict = Verdict(text=judge(tokenizer, grammar))
        except BadGrammar as error:
            verdict = Verdict(problem=str(error))
        signal.setitimer(signal.ITIMER_PROF, 0)
        write_frame(verdicts, msgspec.msgpack.encode(verdict))


if __name__ == "__main__":
    main()
