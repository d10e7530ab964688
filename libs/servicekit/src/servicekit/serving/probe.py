"""Asks a service whether it lives, for health checks: ``python -m servicekit.serving.probe URL``.

Ends with 0 if the answer is 200 within some seconds, and with 1 otherwise. Imports nothing that takes long:
it is run every few seconds.
"""

from __future__ import annotations

import sys
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

SECONDS = 4.0


def is_well(url: str) -> bool:
    """Whether ``http://host:port/path`` answers 200."""
    address = urlsplit(url)
    connection = HTTPConnection(address.hostname or "", address.port, timeout=SECONDS)
    try:
        connection.request("GET", address.path or "/")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if len(sys.argv) == 2 and is_well(sys.argv[1]) else 1)
