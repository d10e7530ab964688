"""Measures the mail service under load, over a real Dovecot, Postfix, Redis and database, and says what was
passed and what was missed."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable

from loadtests.mail.backlog import FULL, backlog
from loadtests.mail.rush import rush
from loadtests.mail.town import Town, town
from loadtests.mail.verdict import Line

PARTS = ("rush", "backlog")


def main() -> int:
    """The exit status: 0 where everything was passed."""
    parser = argparse.ArgumentParser(prog="loadtests.mail", description=__doc__)
    parser.add_argument("--part", choices=PARTS, action="append", help="default: both")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], action="append", help="default: both")
    parser.add_argument("--workers", type=int, help="default: that of the service")
    parser.add_argument("--full", type=int, default=FULL, help="mails in the mailbox at the start")
    options = parser.parse_args()
    parts: dict[str, Callable[[Town], list[Line]]] = {
        "rush": rush,
        "backlog": lambda place: backlog(place, options.full),
    }
    # An end in order takes the servers along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    missed = 0
    for part in options.part or PARTS:
        for database in options.database or ["postgresql", "sqlite"]:
            print(f"{part} on {database} …", flush=True)
            with town(database, workers=options.workers) as place:
                lines = parts[part](place)
                cpu, said = place.service.cpu, place.service.said
            for line in lines:
                print(f"{'pass' if line.passed else 'MISS'}  {line.what:58} {line.figure}", flush=True)
            print(f"      {'CPU of the service':58} {cpu:.0f} s; its log: {said or 'nothing'}")
            missed += sum(not line.passed for line in lines)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
