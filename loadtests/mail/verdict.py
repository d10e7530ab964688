"""What is promised, and whether it held. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loadtests.mail.letters import Thread, references_of
from loadtests.mail.mailboxes import Received

FLAT = 1.05
"""Memory of the last third by that of the second, at most."""


@dataclass(frozen=True, slots=True)
class Line:
    """Something that is promised, or only told."""

    what: str
    figure: str
    passed: bool = True


def answered_once(threads: Sequence[Thread], found: Sequence[Received], resent: int = 0) -> Line:
    """Everybody has one answer to each of their mails, and nothing else.

    Args:
        resent: answers that may have come twice, under the same Message-ID.
    """
    asked = {message_id: of.sender for of in threads for message_id in of.message_ids}
    answers: dict[str, set[str]] = {}
    for one in found:
        if asked.get(one.in_reply_to) == one.person:
            answers.setdefault(one.in_reply_to, set()).add(one.message_id)
    once = sum(len(ids) == 1 for ids in answers.values())
    again = len(found) - once
    figure = f"{once:,}" + (f", {again} of them twice" if again else "")
    return Line(f"{len(asked):,} mails answered, each once", figure, once == len(asked) and again <= resent)


def references(threads: Sequence[Thread], found: Sequence[Received]) -> Line:
    """Each answer refers to the whole thread before it."""
    expected = references_of(threads)
    right = sum(one.references == expected.get(one.in_reply_to) for one in found)
    return Line("answers that refer to all of their thread", f"{right:,}", right == len(found))


def in_order(threads: Sequence[Thread], inbox: Sequence[str], found: Sequence[Received]) -> Line:
    """Within a thread, answers went out in the order in which mails had come in."""
    came = {message_id: place for place, message_id in enumerate(inbox)}
    went = {one.in_reply_to: one.taken_as for one in found}
    several = [of for of in threads if len(of.message_ids) > 1]
    kept = 0
    for of in several:
        by_arrival = sorted((one for one in of.message_ids if one in went), key=lambda one: came.get(one, -1))
        out = [went[one] for one in by_arrival]
        kept += len(out) == len(of.message_ids) and out == sorted(out)
    return Line(
        f"{len(several)} threads with several mails, answered in order", f"{kept}", kept == len(several)
    )


def flat(memory: Sequence[tuple[float, float]]) -> Line:
    """The last third takes hardly more than the second."""
    samples = [each for _, each in memory]
    third = max(1, len(samples) // 3)
    before, after = _mean(samples[third : 2 * third]), _mean(samples[2 * third :])
    figure = f"{samples[0]:.0f} MB at first, {before:.0f} → {after:.0f} MB"
    return Line("memory flat (last third within 5 % of the second)", figure, after < FLAT * before)


def bounded(memory: Sequence[tuple[float, float]], most: float) -> Line:
    """It never takes more than ``most`` MB beyond what it had at first."""
    samples = [each for _, each in memory]
    figure = f"{samples[0]:.0f} MB at first, {max(samples):.0f} MB at most"
    return Line(
        f"memory bounded: a page, not the mailbox (+{most:.0f} MB)", figure, max(samples) < samples[0] + most
    )


def pace(what: str, count: int, seconds: float) -> Line:
    """A figure only."""
    return Line(what, f"{count / seconds:.1f}/s, {seconds:.1f} s in all")


def waits(taken: Mapping[str, float], answered: Mapping[str, float]) -> Line:
    """From when Postfix had taken a mail to when its answer was in the sender's mailbox."""
    seconds = sorted(answered[one] - at for one, at in taken.items() if one in answered)
    p50, p95 = seconds[len(seconds) // 2], seconds[int(0.95 * len(seconds))]
    return Line("arrival to answer in the mailbox", f"p50 {p50:.1f} s, p95 {p95:.1f} s")


def states(found: Mapping[str, int], expected: Mapping[str, int]) -> list[Line]:
    """How many mails ended for each reason."""
    lines = [
        Line(f"ended: {reason}", f"{found.get(reason, 0):,} of {count:,}", found.get(reason, 0) == count)
        for reason, count in expected.items()
    ]
    rest = Counter(found)
    rest.subtract(expected)
    strange = {reason: count for reason, count in rest.items() if reason not in expected}
    return [*lines, Line("mails in any other state", f"{strange or 0}", not strange)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
