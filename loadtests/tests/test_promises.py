"""What `make load` calls passed and missed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from loadtests.plan import TOLD_TO_WAIT, Plan
from loadtests.suite import promises
from loadtests.suite.promises import Line, Outcome

GOOD = {"count": 100, "failures": 0, "p50": 0.4, "p95": 1.1, "p99": 1.4, "slowest": 1.5}
FINE = Outcome(
    Plan(standard=10, people=20, letters=10),
    60.0,
    {"standard request": GOOD},
    telegram=tuple(0.1 * number for number in range(1, 21)),
    mail=tuple(float(number) for number in range(1, 11)),
)


def missed(lines: list[Line]) -> list[str]:
    return [line.what for line in lines if line.passed is False]


def test_what_was_answered_in_time_is_passed() -> None:
    assert missed(promises.steady(FINE)) == []


@pytest.mark.parametrize(
    ("changed", "promise"),
    [
        ({"figures": {"standard request": GOOD | {"p95": 2.4}}}, "API: standard request"),
        ({"seconds": 70.0}, "100 requests per minute"),
        ({"telegram": tuple(0.2 * number for number in range(1, 21))}, "Telegram"),
        ({"mail": (*FINE.mail[:-1], 301.0)}, "mail"),
        ({"mail": FINE.mail[:-2]}, "errors below 1%"),
        ({"telegram": ()}, "Telegram"),
    ],
)
def test_what_came_late_or_not_at_all_is_missed(changed: dict[str, object], promise: str) -> None:
    found = missed(promises.steady(replace(FINE, **changed)))  # type: ignore[arg-type]
    assert any(what.startswith(promise) for what in found), found


def test_who_was_told_to_wait_and_was_answered_then_is_no_error() -> None:
    waited = replace(FINE, figures={"standard request": GOOD, TOLD_TO_WAIT: {"count": 30, "failures": 0}})
    line = promises.errors_below(waited)
    assert line.passed
    assert "30 times told to wait" in line.figure


def test_fifty_at_once_are_fifty() -> None:
    crowd = {"at once": GOOD | {"count": 50, "failures": 1}}
    assert missed(promises.crowd(replace(FINE, figures=crowd))) == ["50 generations at once"]
    assert missed(promises.crowd(replace(FINE, figures={"at once": GOOD | {"count": 50}}))) == []


def test_nothing_asked_is_nothing_passed() -> None:
    assert missed(promises.full(Outcome(Plan(), 1.0, {}))) == ["errors below 1%"]
