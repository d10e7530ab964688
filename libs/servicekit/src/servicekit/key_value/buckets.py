"""Token buckets as one number each: the moment at which the bucket will be full again. Pure; times in whole
microseconds, as Redis computes them, too (``limit_scripts``).

This is the generic cell rate algorithm: ITU-T I.371, annex A, in its virtual scheduling form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from servicekit.key_value.limits import Bucket

SECOND = 1_000_000
"""Microseconds."""


@dataclass(frozen=True, slots=True)
class Draft:
    """Tokens that are to be taken from a bucket."""

    cost: int
    """How much later the bucket will be full."""
    room: int
    """How long it takes to fill it."""

    def possible_at(self, full_at: int, now: int) -> int:
        """When so many tokens will be there."""
        return max(now, full_at + self.cost - self.room)

    def full_after(self, full_at: int, at: int) -> int:
        """When the bucket will be full once they were taken."""
        return max(full_at, at) + self.cost


def draft(bucket: Bucket, amount: float) -> Draft:
    """Raises ValueError where the bucket never holds so much, or nothing is to be taken."""
    if not 0 < amount <= bucket.burst:
        raise ValueError(f"{amount} tokens from a bucket that holds {bucket.burst}")
    return Draft(round(amount * SECOND / bucket.per_second), round(bucket.burst * SECOND / bucket.per_second))


def take(drafts: Sequence[Draft], full_at: Sequence[int], now: int, patience: int) -> tuple[int, list[int]]:
    """What :meth:`servicekit.key_value.limits.Limits.take` decides.

    Args:
        full_at: of each bucket; any moment up to ``now`` if it is full.

    Returns:
        The wait, and when each bucket will be full: unchanged if that is more than ``patience``.
    """
    at = max(one.possible_at(full, now) for one, full in zip(drafts, full_at, strict=True))
    if at - now > patience:
        return at - now, list(full_at)
    return at - now, [one.full_after(full, at) for one, full in zip(drafts, full_at, strict=True)]


def held(bucket: Bucket, full_at: int, until: int) -> int:
    """When a bucket will be full that gives no token before ``until``."""
    one = draft(bucket, 1.0)
    return max(full_at, until + one.room - one.cost)
