"""The process that fetches: ``python -m ai_core.catalog.hub``.

One :class:`~ai_core.catalog.hub.messages.Order` comes as a line on the standard input, events go as lines to
the standard output. The end of the input ends the process, wherever it is: who ordered is gone.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import BinaryIO

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
    orders, output = sys.stdin.buffer, sys.stdout.buffer
    order = msgspec.json.decode(orders.readline(), type=Order)
    threading.Thread(target=_end_with, args=(orders,), daemon=True).start()

    def tell(event: Event) -> None:
        output.write(msgspec.json.encode(event) + b"\n")
        output.flush()

    Fetching(order, Hub(order.token), tell).run()


def _end_with(orders: BinaryIO) -> None:
    orders.read()
    os._exit(_GONE)


if __name__ == "__main__":
    main()
