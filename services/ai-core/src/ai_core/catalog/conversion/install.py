"""``make converter``: makes the converter's environment beforehand, and shows how far it is."""

from __future__ import annotations

import asyncio
import sys

from ai_core.catalog.conversion.environment import ConverterUnavailable, converter_python

INTERRUPTED = 130


def main() -> int:
    """Make the environment unless it is there; the exit status."""
    try:
        python = asyncio.run(converter_python(_Report(live=sys.stdout.isatty()).show))
    except ConverterUnavailable as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted; run it again to go on.\n")
        return INTERRUPTED
    sys.stdout.write(f"The converter is installed in {python.parent.parent}.\n")
    return 0


class _Report:
    """One line that is drawn again and again on a terminal; elsewhere a line for each tenth."""

    def __init__(self, live: bool) -> None:
        self._live = live
        self._tenth = -1

    def show(self, share: float, what: str) -> None:
        if self._live:
            end = "\n" if share >= 1 else ""
            sys.stdout.write(f"\r\033[K{share:4.0%}  {what}{end}")
        elif int(share * 10) > self._tenth:
            self._tenth = int(share * 10)
            sys.stdout.write(f"{share:4.0%}  {what}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
