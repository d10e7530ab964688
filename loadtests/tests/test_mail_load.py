"""`make load-mail` in small: the same people, servers and verdicts, with forty mails."""

from __future__ import annotations

from loadtests.mail.rush import Load, rush
from loadtests.mail.town import town


def test_all_who_write_at_once_are_answered_once_and_in_order() -> None:
    with town("sqlite") as place:
        lines = rush(place, Load(alone=16, threads=6, length=4))
    # How much memory it takes says something after more than a few seconds.
    assert [line for line in lines if not line.passed and "memory" not in line.what] == []
