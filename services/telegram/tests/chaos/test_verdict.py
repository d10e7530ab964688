"""The judge of the chaos: what would go unnoticed here would go unnoticed there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from telegram_chaos.plan import POINTS, plan_of
from telegram_chaos.verdict import EntryRow, Facts, PartRow, Said, ShownRow, judge

FINE = Facts(
    said=[Said("1", 42, "re: un"), Said("2", 42, "re: deux")],
    entries=[
        EntryRow(1, "1", "42", "done", "", [PartRow("sent", "re: un", "10")]),
        EntryRow(2, "2", "42", "done", "", [PartRow("sent", "re: deux", "11")]),
    ],
    shown=[ShownRow(10, 42, "re: un"), ShownRow(11, 42, "re: deux")],
    cuts={},
    in_order=True,
)
FIRST, SECOND = FINE.entries


def test_everybody_answered_once_is_fine() -> None:
    verdict = judge(FINE)
    assert (verdict.faults, verdict.answered, verdict.ambiguous) == ([], 2, 0)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (replace(FINE, entries=[FIRST]), "never stored"),
        (replace(FINE, entries=[FIRST, replace(SECOND, state="open")]), "2: open"),
        (replace(FINE, entries=[FIRST, replace(SECOND, state="dead", reason="too often")]), "too often"),
        (replace(FINE, entries=[FIRST, replace(SECOND, parts=[])]), "without an answer"),
        (replace(FINE, shown=FINE.shown[:1]), "message 11 is not there"),
        (replace(FINE, shown=[FINE.shown[0], ShownRow(11, 42, "re: deu …")]), "shows 9 characters"),
        (replace(FINE, shown=[*FINE.shown, ShownRow(12, 42, "re: deux")]), "more than questions"),
        (replace(FINE, shown=[*FINE.shown, ShownRow(12, 42, "re: d …")]), "1 ambiguous messages, 0 cuts"),
        (
            replace(FINE, entries=[FIRST, replace(SECOND, parts=[PartRow("unknown", "re: deux", "")])]),
            "1 ambiguous messages, 0 cuts",
        ),
        (
            replace(FINE, entries=[replace(FIRST, key="2"), replace(SECOND, key="1")]),
            "stored in another order",
        ),
        (
            replace(FINE, entries=[replace(FIRST, parts=SECOND.parts), replace(SECOND, parts=FIRST.parts)]),
            "went out in another order",
        ),
        (replace(FINE, said=FINE.said[:1]), "nobody said 2"),
    ],
)
def test_what_is_wrong_is_told(facts: Facts, words: str) -> None:
    assert any(words in fault for fault in judge(facts).faults), judge(facts).faults


def test_a_send_that_was_cut_explains_one_ambiguous_message_and_no_more() -> None:
    unknown = replace(SECOND, parts=[PartRow("unknown", "re: deux", "")])
    cut = replace(FINE, entries=[FIRST, unknown], cuts={42: 1})
    assert judge(cut).faults == []
    assert judge(cut).ambiguous == 1
    assert judge(replace(cut, shown=FINE.shown[:1])).faults == []
    assert judge(replace(cut, shown=[*FINE.shown, ShownRow(12, 42, "re: un")])).faults != []
    assert judge(replace(cut, cuts={43: 1})).faults != []


def test_five_hundred_seeds_kill_everywhere() -> None:
    planned = [life.point for seed in range(1, 501) for life in plan_of(seed).lives]
    assert {point: planned.count(point) >= 10 for point in POINTS} == dict.fromkeys(POINTS, True)
    assert plan_of(7) == plan_of(7)
