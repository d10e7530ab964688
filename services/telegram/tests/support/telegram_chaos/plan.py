"""What happens in a run, decided by its seed alone. Pure. Times are seconds of the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from chaos.mishaps import Life, Outage

SPEAKING_SECONDS = 7.0
"""So long people write."""
LONGEST_LIFE = 8.0
"""A process whose point is not reached by then is killed wherever it is."""

QUIET_SECONDS = 4.0
"""So long nobody writes again after a question that their client had to divide."""

Kind = Literal["question", "long answer", "long question", "command"]
KINDS: tuple[Kind, ...] = ("question", "long answer", "long question", "command")
INSIDE = (
    "before the insert",
    "after the insert",
    "after the claim",
    "after the attempt is counted",
    "before the AI core is asked",
    "during the generation",
    "after the answer is complete",
    "before open_part",
    "after open_part",
    "before sending is stored",
    "after sending is stored",
    "after Telegram's reply",
    "after streaming is stored",
    "before an edit",
    "after an edit",
    "after the turn is remembered",
    "before the answer is stored",
    "after the answer is stored",
    "before sent is stored",
    "after sent is stored",
    "before the entry is finished",
    "after the entry is finished",
    "after it is put off",
    "before the lane is released",
    "after the lane is released",
    "during the drain",
)
"""Points that the process itself reaches; it kills itself there."""
OUTSIDE = (
    "after the acknowledgement",
    "between request and reply",
    "between an edit and its reply",
)
"""Points that the other side of a connection sees."""
POINTS = (*INSIDE, *OUTSIDE)


@dataclass(frozen=True, slots=True)
class Saying:
    """Somebody writes."""

    at: float
    person: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class Plan:
    """One run."""

    seed: int
    webhook: bool
    postgres: bool
    redis: bool
    sayings: tuple[Saying, ...]
    lives: tuple[Life, ...]
    outages: tuple[Outage, ...]
    cut_before: float
    """Share of Telegram's calls that are lost on their way."""
    cut_after: float
    """Share that is carried out, and whose reply is lost."""
    unavailable: float
    """Share that is answered with 503."""
    flooded: float
    """Share of sends and edits that are answered with 429."""
    doubled: float
    """Share of updates that come twice."""
    reordered: bool
    """Whether updates overtake each other."""


def plan_of(seed: int) -> Plan:
    """The plan of a seed; that of 0 is one long outage."""
    if seed == 0:
        return _THE_MINUTE
    random = Random(seed)  # noqa: S311 - chance that can be repeated
    troubled = random.random() < 0.6
    return Plan(
        seed=seed,
        webhook=random.random() < 0.6,
        postgres=(postgres := random.random() < 0.3),
        redis=(redis := random.random() < 0.4),
        sayings=_sayings(random),
        lives=_lives(random),
        outages=_outages(random, postgres=postgres, redis=redis),
        cut_before=random.choice((0.0, 0.05)) if troubled else 0.0,
        cut_after=random.choice((0.0, 0.05, 0.15)) if troubled else 0.0,
        unavailable=random.choice((0.0, 0.05)) if troubled else 0.0,
        flooded=random.choice((0.0, 0.0, 0.1)),
        doubled=random.choice((0.0, 0.2, 0.5)),
        reordered=random.random() < 0.3,
    )


def _sayings(random: Random) -> tuple[Saying, ...]:
    kinds = random.choices(KINDS, (8, 1, 1, 2), k=random.randint(5, 10))
    people = random.randint(2, 4)
    sayings = [Saying(random.uniform(0, SPEAKING_SECONDS), random.randrange(people), kind) for kind in kinds]
    sayings.sort(key=lambda saying: saying.at)
    return tuple(saying for saying in sayings if not _may_belong_to_one_before(saying, sayings))


def _may_belong_to_one_before(saying: Saying, sayings: Sequence[Saying]) -> bool:
    """Whether the service may well take it for the rest of a long question."""
    return any(
        before.person == saying.person
        and before.kind == "long question"
        and 0 < saying.at - before.at < QUIET_SECONDS
        for before in sayings
    )


def _lives(random: Random) -> tuple[Life, ...]:
    count = random.choices((0, 1, 2, 3), (1, 5, 4, 2))[0]
    return tuple(Life(random.choice(POINTS), random.choices((1, 2, 3), (5, 2, 1))[0]) for _ in range(count))


def _outages(random: Random, *, postgres: bool, redis: bool) -> tuple[Outage, ...]:
    ways = {
        "core": ("gone", "busy", "unavailable", "cut", "error"),
        "database": ("paused", "restarted") if postgres else ("locked",),
        "redis": ("paused", "restarted") if redis else (),
    }
    shares = {"core": 0.6, "database": 0.35, "redis": 0.5}
    outages = []
    for what, hows in ways.items():
        if random.random() < shares[what] and hows:
            at, seconds = random.uniform(0, SPEAKING_SECONDS), random.uniform(1.0, 6.0)
            # One that is paused is waited for at first.
            seconds *= 2.0 if postgres and what == "database" else 1.0
            outages.append(Outage(what, random.choice(hows), at, seconds))  # type: ignore[arg-type]
    return tuple(outages)


_THE_MINUTE = Plan(
    seed=0,
    webhook=True,
    postgres=False,
    redis=False,
    sayings=tuple(Saying(float(number), number % 3, "question") for number in range(7)),
    lives=(Life("after it is put off", 3),),
    outages=(Outage("core", "gone", 1.5, 60.0),),
    cut_before=0.0,
    cut_after=0.0,
    unavailable=0.0,
    flooded=0.0,
    doubled=0.2,
    reordered=False,
)
