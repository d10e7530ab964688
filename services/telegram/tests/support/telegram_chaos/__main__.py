"""Random mishaps, and the question whether everybody was answered once all the same.

A run is made from a seed (``plan``): people write, the real service answers in a process of its own, and
meanwhile that process is killed at named points (``points``), the AI core, the database, Redis and Telegram
are away or misbehave (``core``, ``meddling``), and updates come twice or out of order. When everything is
quiet, ``verdict`` compares the journal with what people saw. Time runs faster, and services are forked
from a process that has imported everything: ``chaos``, in the tests of the workspace, has what is the same
for all services.

``python -m telegram_chaos --help`` says how to repeat a run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import telegram_chaos.plan
from chaos.campaign import Campaign, Row, campaign, total
from telegram_chaos.lane import perform_all
from telegram_service import app


def main() -> int:
    """The exit status: 0 where nothing is wrong in any run."""
    this = Campaign(
        service="telegram",
        program="telegram_chaos",
        door="chaos-telegram",
        description=__doc__,
        runs=500,
        long_outage=("--minute", "the AI core is away for a minute"),
        code=(app.__file__, telegram_chaos.plan.__file__),
        points=telegram_chaos.plan.POINTS,
        sums=_sums,
    )
    return campaign(this, perform_all)


def _sums(rows: Sequence[Row]) -> list[str]:
    return [
        f"messages                {total(rows, 'questions')}, answered {total(rows, 'answered')}",
        f"ambiguous sends         {total(rows, 'ambiguous')}, of {total(rows, 'cuts')} that were cut",
    ]


if __name__ == "__main__":
    sys.exit(main())
