"""What is promised, and whether it held. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from loadtests.plan import TOLD_TO_WAIT, Plan

API_SECONDS = 2.0
AT_ONCE = 50
PER_MINUTE = 100
TELEGRAM_SECONDS = 3.0
MAIL_SECONDS = 300.0
ERRORS = 0.01


@dataclass(frozen=True, slots=True)
class Line:
    """Something that is promised; ``passed`` None: only told."""

    what: str
    figure: str
    passed: bool | None = None

    def __str__(self) -> str:
        verdict = {True: "pass", False: "MISS", None: ""}[self.passed]
        return f"{verdict:4}  {self.what:66} {self.figure}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one run."""

    plan: Plan
    seconds: float
    figures: Mapping[str, Mapping[str, Any]]
    """By name of a request: count, failures, p50, p95, p99, slowest, in seconds."""
    errors: Mapping[str, int] = field(default_factory=dict)
    telegram: tuple[float, ...] = ()
    """Seconds from a question to its complete answer, in order."""
    mail: tuple[float, ...] = ()
    """Seconds from a mail's arrival to its answer's, in order."""

    @property
    def asked(self) -> int:
        """Requests to the API, questions on Telegram, and mails."""
        return self._requests("count") + self.plan.people + self.plan.letters

    @property
    def failed(self) -> int:
        """What got no answer."""
        missing = self.plan.people - len(self.telegram) + self.plan.letters - len(self.mail)
        return self._requests("failures") + missing

    @property
    def told_to_wait(self) -> int:
        """429 and 503 whose repetition was answered, or counts as failed under its own name."""
        return int(self.figures.get(TOLD_TO_WAIT, {}).get("count", 0))

    def _requests(self, what: str) -> int:
        # The others are parts of these, or told under a question's or a mail's name.
        names = ("standard request", "at once", "conversation", "single shot", "stream")
        return sum(int(self.figures.get(name, {}).get(what, 0)) for name in names)


def errors_below(outcome: Outcome) -> Line:
    """All errors of all doors."""
    share = outcome.failed / outcome.asked if outcome.asked else 1.0
    figure = f"{outcome.failed} of {outcome.asked:,} ({share:.2%}); {outcome.told_to_wait} times told to wait"
    return Line(f"errors below {ERRORS:.0%}", figure, share < ERRORS)


def crowd(outcome: Outcome) -> list[Line]:
    """So many generations at once."""
    found = outcome.figures.get("at once", {"count": 0, "failures": 0, "p50": 0.0, "slowest": 0.0})
    answered = found["count"] - found["failures"]
    figure = f"{answered} answered, median {found['p50']:.2f} s, the last after {found['slowest']:.2f} s"
    return [Line(f"{AT_ONCE} generations at once", figure, answered == AT_ONCE)]


def steady(outcome: Outcome) -> list[Line]:
    """The standard load: 100 requests a minute, beside Telegram and mail."""
    found = outcome.figures.get("standard request", {"count": 0, "failures": 0, "p50": 0.0, "p95": 1e9})
    rate = 60 * (found["count"] - found["failures"]) / outcome.seconds
    return [
        Line(f"{PER_MINUTE} requests per minute", f"{rate:.0f} answered", rate >= 0.97 * PER_MINUTE),
        Line(
            f"API: standard request, p95 below {API_SECONDS:.0f} s",
            f"p50 {found['p50']:.2f} s, p95 {found['p95']:.2f} s",
            found["p95"] < API_SECONDS,
        ),
        _waits("Telegram: question to complete answer", outcome.telegram, 0.95, TELEGRAM_SECONDS),
        _waits("mail: arrival to answer", outcome.mail, 1.0, MAIL_SECONDS),
        errors_below(outcome),
    ]


def full(outcome: Outcome) -> list[Line]:
    """Everything at once: only errors are promised; the rest is told."""
    plan = outcome.plan
    lines = [
        Line(f"{plan.people:,} people on Telegram answered", f"{len(outcome.telegram):,}"),
        Line(f"{plan.letters:,} mails answered", f"{len(outcome.mail):,}"),
        *(Line(name, _spread(found)) for name, found in sorted(outcome.figures.items())),
    ]
    for name, seconds in (
        ("Telegram: question to complete answer", outcome.telegram),
        ("mail: arrival to answer", outcome.mail),
    ):
        if seconds:
            p50, p95 = _share(seconds, 0.5), _share(seconds, 0.95)
            lines.append(Line(name, f"p50 {p50:.1f} s, p95 {p95:.1f} s, the last {seconds[-1]:.1f} s"))
    return [*lines, errors_below(outcome)]


def _spread(found: Mapping[str, Any]) -> str:
    return (
        f"{found['count']:,}, {found['failures']} failed; "
        f"p50 {found['p50']:.3f} s, p95 {found['p95']:.3f} s, p99 {found['p99']:.3f} s"
    )


def _waits(what: str, seconds: tuple[float, ...], share: float, limit: float) -> Line:
    name = "the last" if share == 1.0 else f"p{100 * share:.0f}"
    title = f"{what}, {name} below {limit:.0f} s"
    if not seconds:
        return Line(title, "none was answered", passed=False)
    found = _share(seconds, share)
    figure = f"median {_share(seconds, 0.5):.2f} s, {name} {found:.2f} s ({len(seconds)} answered)"
    return Line(title, figure, found < limit)


def _share(ordered: tuple[float, ...], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
