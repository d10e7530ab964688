"""What happens in a run, decided by its seed alone. Pure. Times are seconds of the run."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from chaos.mishaps import Life, Outage
from fault_proxy import CONNECT, END, Act, Fault, Script

WRITING_SECONDS = 5.0
"""So long people write."""
TROUBLE_SECONDS = 10.0
"""So long servers misbehave."""
LONGEST_LIFE = 10.0
"""A process whose point is not reached by then is killed wherever it is."""

INSIDE = (
    "before a mail is stored",
    "after a mail is stored",
    "before the mark",
    "after the claim",
    "after the attempt is counted",
    "before the AI core is asked",
    "after the AI core has answered",
    "after the history is written",
    "before the answer is stored",
    "after the answer is stored",
    "before sending is stored",
    "after sending is stored",
    "after the mail went out",
    "before sent is stored",
    "after sent is stored",
    "before the copy",
    "after the copy",
    "before the entry is finished",
    "after the entry is finished",
    "after it is put off",
    "before the lane is released",
    "during the drain",
)
"""Points that the process itself reaches; it kills itself there."""
OUTSIDE = {"between the dot and its reply": END, "in IDLE": "IDLE", "while a mail is fetched": "FETCH"}
"""Points that the other side of a connection sees, and the command at which."""
POINTS = (*INSIDE, *OUTSIDE)

IMAP_FAULTS = (
    Fault(CONNECT, Act.RESET),
    Fault("LOGIN", Act.RESET),
    Fault("LOGIN", Act.REPLY, "NO [UNAVAILABLE] Later"),
    Fault("SELECT", Act.SILENCE),
    Fault("SEARCH", Act.RESET),
    Fault("FETCH", Act.RESET),
    Fault("FETCH", Act.LOSE_REPLY, skip=1),
    Fault("FETCH", Act.CUT_INSIDE, skip=1),
    Fault("STORE", Act.RESET),
    Fault("STORE", Act.LOSE_REPLY),
    Fault("APPEND", Act.LOSE_REPLY),
    Fault("APPEND", Act.CUT_INSIDE),
    Fault("IDLE", Act.RESET),
    Fault("IDLE", Act.SILENCE),
    Fault("IDLE", Act.REPLY, "* BYE Going down"),
    Fault("IDLE", Act.REPLY_AND_CLOSE, "* BYE Going down"),
    Fault("DONE", Act.SILENCE),
)
_OF_A_MAIL = ("MAIL", "RCPT", "DATA", END)
SMTP_FAULTS = (
    Fault(CONNECT, Act.RESET),
    *(Fault(at, Act.REPLY, "451 4.3.0 made up") for at in ("EHLO", *_OF_A_MAIL)),
    *(Fault(at, Act.REPLY, "550 5.7.1 made up") for at in _OF_A_MAIL),
    *(Fault(at, Act.REPLY_AND_CLOSE, "421 4.3.2 going down") for at in _OF_A_MAIL),
    *(Fault(at, Act.RESET) for at in _OF_A_MAIL),
    *(Fault(at, Act.SILENCE) for at in ("RCPT", END)),
    *([Fault(END, Act.LOSE_REPLY)] * 6),
    Fault(END, Act.CUT_INSIDE),
)


@dataclass(frozen=True, slots=True)
class Writing:
    """Somebody writes."""

    at: float
    person: int
    goes_on: bool
    """In the thread of what they wrote before."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One run."""

    seed: int
    postgres: bool
    redis: bool
    writings: tuple[Writing, ...]
    lives: tuple[Life, ...]
    outages: tuple[Outage, ...]
    numbered_anew: tuple[float, ...]
    """When the folder gets another UIDVALIDITY."""
    imap_trouble: float
    """Share of connections with up to three faults."""
    smtp_trouble: float
    slow: float
    """Share of connections on which the server speaks byte by byte."""

    def imap_script(self, number: int) -> Script:
        """Of a connection."""
        return self._script(Random(f"imap {self.seed} {number}"), self.imap_trouble, IMAP_FAULTS)  # noqa: S311

    def smtp_script(self, number: int) -> Script:
        """Of a connection."""
        return self._script(Random(f"smtp {self.seed} {number}"), self.smtp_trouble, SMTP_FAULTS)  # noqa: S311

    def _script(self, random: Random, trouble: float, faults: tuple[Fault, ...]) -> Script:
        return Script(
            tuple(random.sample(faults, random.randint(1, 3))) if random.random() < trouble else (),
            0.002 if random.random() < self.slow else 0.0,
        )


def plan_of(seed: int) -> Plan:
    """The plan of a seed; that of 0 is one long outage."""
    if seed == 0:
        return _THE_FIVE_MINUTES
    random = Random(seed)  # noqa: S311 - chance that can be repeated
    postgres, redis = random.random() < 0.3, random.random() < 0.4
    return Plan(
        seed=seed,
        postgres=postgres,
        redis=redis,
        writings=_writings(random),
        lives=_lives(random),
        outages=_outages(random, postgres=postgres, redis=redis),
        numbered_anew=(random.uniform(1.0, TROUBLE_SECONDS),) if random.random() < 0.25 else (),
        imap_trouble=random.choice((0.0, 0.6, 0.9)),
        smtp_trouble=random.choice((0.0, 0.6, 0.9)),
        slow=random.choice((0.0, 0.0, 0.0, 0.1)),
    )


def _writings(random: Random) -> tuple[Writing, ...]:
    people, count = random.randint(2, 3), random.randint(4, 8)
    written = [
        Writing(random.uniform(0, WRITING_SECONDS), random.randrange(people), random.random() < 0.4)
        for _ in range(count)
    ]
    return tuple(sorted(written, key=lambda writing: writing.at))


def _lives(random: Random) -> tuple[Life, ...]:
    count = random.choices((0, 1, 2, 3), (2, 5, 4, 1))[0]
    return tuple(Life(random.choice(POINTS), random.choices((1, 2, 3), (5, 2, 1))[0]) for _ in range(count))


def _outages(random: Random, *, postgres: bool, redis: bool) -> tuple[Outage, ...]:
    outages = []
    if random.random() < 0.5:
        how = random.choice(("gone", "busy", "unavailable", "cut", "error"))
        outages.append(Outage("core", how, *_span(random)))
    if random.random() < 0.35:
        how = random.choice(("paused", "restarted")) if postgres else "locked"
        outages.append(Outage("database", how, *_span(random)))
    if redis and random.random() < 0.5:
        outages.append(Outage("redis", random.choice(("paused", "restarted")), *_span(random)))
    return tuple(outages)


def _span(random: Random) -> tuple[float, float]:
    return random.uniform(0, WRITING_SECONDS), random.uniform(1.0, 5.0)


_THE_FIVE_MINUTES = Plan(
    seed=0,
    postgres=False,
    redis=False,
    writings=tuple(Writing(float(number * 3), number % 3, goes_on=number > 3) for number in range(9)),
    lives=(Life("after it is put off", 3),),
    outages=(Outage("core", "gone", 1.0, 300.0),),
    numbered_anew=(),
    imap_trouble=0.0,
    smtp_trouble=0.0,
    slow=0.0,
)
