"""The judge of the chaos: what would go unnoticed here would go unnoticed there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chaos.points import open_sends
from mail_chaos.plan import IMAP_FAULTS, POINTS, SMTP_FAULTS, plan_of
from mail_chaos.verdict import EntryRow, Facts, Received, Written, judge

FINE = Facts(
    written=[Written("<1>", "anne"), Written("<2>", "anne")],
    entries=[
        EntryRow(1, "<1>", "t", "done", "answered", "sent", 0, "<a1>"),
        EntryRow(2, "<2>", "t", "done", "answered", "sent", 0, "<a2>"),
    ],
    taken={"<a1>": 1, "<a2>": 1},
    received=[Received("anne", "<1>", "<a1>"), Received("anne", "<2>", "<a2>")],
    copies={"<a1>": 1, "<a2>": 1},
    lost_replies=0,
    open_ends=0,
    killed_sending=0,
    in_doubt=0,
    refusals=0,
)
FIRST, SECOND = FINE.entries
AGAIN = replace(FINE, taken={"<a1>": 1, "<a2>": 2}, received=[*FINE.received, FINE.received[1]])
DEAD = replace(
    FINE,
    entries=[FIRST, replace(SECOND, state="dead", reason="refused by the mail server (550)", sent="open")],
    taken={"<a1>": 1},
    received=FINE.received[:1],
    copies={"<a1>": 1},
)
OPEN = replace(
    DEAD, entries=[FIRST, replace(SECOND, sent="unknown", repeats=1)], open_ends=2, copies={"<a1>": 1}
)


def test_everybody_answered_once_is_fine() -> None:
    verdict = judge(FINE)
    assert (verdict.faults, verdict.answered, verdict.again, verdict.cuts) == ([], 2, 0, 0)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (replace(FINE, entries=[FIRST]), "<2>: never stored"),
        (replace(FINE, entries=[FIRST, SECOND, replace(SECOND, id=3)]), "stored 2 times"),
        (replace(FINE, entries=[FIRST, SECOND, EntryRow(3, "<3>", "t", "done", "")]), "nobody wrote that"),
        (replace(FINE, entries=[FIRST, replace(SECOND, state="open", sent="open")]), "<2>: open"),
        (replace(FINE, entries=[FIRST, replace(SECOND, reason="ignored: spam", sent="")]), "answer missing"),
        (replace(FINE, received=FINE.received[:1]), "took 1, and 0 arrived"),
        (replace(FINE, taken={"<a1>": 1}, received=FINE.received[:1]), "nobody has it"),
        (replace(FINE, copies={"<a1>": 1, "<a2>": 2}), "2 copies of its answer"),
        (AGAIN, "1 mails went out again, 0 cuts"),
        (replace(FINE, received=[*FINE.received, Received("anne", "<2>", "<a3>")]), "2 Message-IDs"),
        (replace(FINE, received=[*FINE.received, Received("bob", "<2>", "<a2>")]), "who did not ask"),
        (replace(FINE, taken={"<a2>": 1, "<a1>": 1}), "another order"),
        (replace(AGAIN, in_doubt=1), "1 mails went out again, 0 cuts"),
        (DEAD, "1 mails are dead, 0 refusals"),
        (replace(OPEN, open_ends=0), "1 repeats, 0 open ends"),
        (replace(OPEN, entries=[FIRST, replace(SECOND, sent="unknown")]), "left open after one try"),
    ],
)
def test_what_is_wrong_is_told(facts: Facts, words: str) -> None:
    assert any(words in fault for fault in judge(facts).faults), judge(facts).faults


def test_what_the_injector_did_explains_as_much_and_no_more() -> None:
    for explained in (replace(AGAIN, lost_replies=1), replace(AGAIN, killed_sending=1), OPEN):
        assert judge(explained).faults == []
    assert judge(replace(DEAD, refusals=1)).faults == []
    repeated = replace(FINE, entries=[FIRST, replace(SECOND, repeats=1)])
    assert judge(repeated).faults
    assert judge(replace(repeated, in_doubt=1)).faults == []


def test_a_send_is_open_from_when_it_is_asked_for_to_when_its_end_is_stored() -> None:
    def line(part: int, state: str) -> dict[str, Any]:
        return {"part": part, "entry": part + 10, "state": state}

    before = [line(1, "asked"), line(1, "sending"), line(1, "sent")]
    before += [line(2, "asked"), line(2, "sending"), line(3, "asked")]
    before += [line(4, "asked"), line(4, "refused"), line(5, "asked"), line(5, "doubted")]
    killed: dict[str, Any] = {"killed": "anywhere"}
    after = [line(2, "asked"), line(2, "sending"), killed]
    sends = open_sends([*before, killed, *after])
    assert (sends.under_way, sends.in_doubt) == ([12, 12], [15, 13])


def test_three_hundred_seeds_kill_everywhere_and_try_every_fault() -> None:
    plans = [plan_of(seed) for seed in range(1, 301)]
    killed = {life.point for plan in plans for life in plan.lives}
    assert killed == set(POINTS)
    imap = {fault for plan in plans for number in range(4) for fault in plan.imap_script(number).faults}
    smtp = {fault for plan in plans for number in range(4) for fault in plan.smtp_script(number).faults}
    assert (imap, smtp) == (set(IMAP_FAULTS), set(SMTP_FAULTS))
    assert plan_of(7) == plan_of(7)
