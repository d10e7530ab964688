"""Random mishaps between people, a real Dovecot, a real Postfix and the mail service, and the question
whether everybody was answered once all the same.

A run is made from a seed (``plan``): people write, the real service answers in a process of its own, and
meanwhile that process is killed at named points (``points``), the mail servers misbehave behind proxies, a
folder is numbered anew, and the AI core, the database and Redis are away. When everything is quiet,
``verdict`` compares the journal with what the server took and people have. What is the same for all
services is ``chaos``, in the tests of the workspace.

``python -m mail_chaos --help`` says how to repeat a run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import mail_chaos.plan
from chaos.campaign import Campaign, Row, campaign, total
from mail_chaos.lane import perform_all
from mail_service import app


def main() -> int:
    """The exit status: 0 where nothing is wrong in any run."""
    this = Campaign(
        service="mail",
        program="mail_chaos",
        door="chaos-mail",
        description=__doc__,
        runs=300,
        long_outage=("--five-minutes", "the AI core is away for five minutes"),
        code=(app.__file__, mail_chaos.plan.__file__),
        points=mail_chaos.plan.POINTS,
        sums=_sums,
    )
    return campaign(this, perform_all)


def _sums(rows: Sequence[Row]) -> list[str]:
    return [
        f"mails                   {total(rows, 'mails')}, answered {total(rows, 'answered')}",
        f"went out again          {total(rows, 'again')}, of {total(rows, 'cuts')} cuts",
    ]


if __name__ == "__main__":
    sys.exit(main())
