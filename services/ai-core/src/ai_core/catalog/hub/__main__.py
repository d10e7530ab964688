"""The process that fetches: ``python -m ai_core.catalog.hub``.

One :class:`~ai_core.catalog.hub.messages.Order` comes as a line on the standard input, events go as lines to
the standard output. The end of the input ends the process, wherever it is: who ordered is gone.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

import msgspec

from ai_core.catalog.hub.client import Hub
from ai_core.catalog.hub.fetching import Fetching
from ai_core.catalog.hub.messages import Event, Order

_GONE = 3
_NICENESS = 10


def main() -> None:
    """Carry out the order on the standard input."""
    # Ctrl-C goes to the whole group; who ordered decides, and then our input ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(_NICENESS)
    output = sys.stdout.buffer
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    threading.Thread(target=_end_with_input, daemon=True).start()

    def tell(event: Event) -> None:
        output.write(msgspec.json.encode(event) + b"\n")
        output.flush()

    Fetching(order, Hub(order.token), tell).run()


def _end_with_input() -> None:
    # Not through sys.stdin: its lock would be held when the interpreter shuts down.
    while os.read(0, 1_024):
        pass
    os._exit(_GONE)


if __name__ == "__main__":
    main()
