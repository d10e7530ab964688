"""``python -m ai_core.catalog.conversion SOURCE KEPT QUANTIZATION``: :func:`.converting.convert` as a
process, for engines, which import nothing of the catalog. Each line of the standard output is a JSON object:
``share`` and ``what`` while it works, at the end ``folder`` or ``error``. It ends when whoever started it
does.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import signal
import sys
from pathlib import Path

from ai_core.catalog.conversion.converting import CannotConvert, convert

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """The exit status."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    source, kept, quantization = arguments
    try:
        folder = asyncio.run(_convert(Path(source), Path(kept), quantization))
    except CannotConvert as error:
        _say({"error": str(error)})
        return 1
    _say({"folder": str(folder)})
    return 0


async def _convert(source: Path, kept: Path, quantization: str) -> Path:
    work = asyncio.current_task()
    assert work is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, work.cancel)
    return await convert(source, kept, quantization, lambda share, what: _say({"share": share, "what": what}))


def _say(line: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
