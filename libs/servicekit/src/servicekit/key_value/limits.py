"""The port: how much somebody may do, by token buckets and by sums that are kept for a while."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

ONCE_SECONDS = 600.0
"""So long a decision about the same thing stays the same."""
ASK_ONLY = -1.0
"""The patience of who only wants to know how long it would take."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Full at first; tokens are taken out, and come back at a steady rate.

    Raises:
        ValueError: it could never hold a token.
    """

    key: str
    per_second: float
    """Tokens that come back; above 0."""
    burst: float
    """Tokens when it is full; 1 or more."""

    def __post_init__(self) -> None:
        if not (self.per_second > 0 and self.burst >= 1):
            raise ValueError(f"a bucket of {self.burst} tokens, {self.per_second} per second")


class Limits(Protocol):
    """Buckets and sums by key; a key is of one kind only. What is held may be lost at any moment: then
    buckets are full and sums are 0. Each call is one atomic step, whoever else calls.

    Every method but ``close`` raises ``StoreUnavailable``.
    """

    async def take(
        self, buckets: Sequence[Bucket], amount: float = 1.0, *, patience: float = 0.0, once: str = ""
    ) -> float:
        """Take tokens from each of these buckets, or from none.

        Args:
            buckets: one or more.
            amount: above 0, and no more than any of them holds.
            patience: seconds that the caller would wait for tokens which are taken now already; whoever comes
                later waits behind them. Below 0, nothing is taken in any case. Who waits for a narrow bucket
                and takes from a wide one at the same time holds up all others there: such a caller takes one
                after the other.
            once: what they are taken for. Asked again for the same within :data:`ONCE_SECONDS`, the answer is
                the same, and nothing is taken.

        Returns:
            The seconds until the tokens may be used. More than ``patience``: nothing was taken.

        Raises:
            ValueError: a bucket never holds so much.
        """

    async def hold(self, bucket: Bucket, seconds: float) -> None:
        """No token may be taken from it before so many seconds have passed."""

    async def count(self, key: str, item: str, amount: int, ttl: float) -> int:
        """Add to a sum that is kept for ``ttl`` seconds from its last change.

        Args:
            item: what is added, at most 100 characters; counted again, it takes the place of what it was.

        Returns:
            The sum.
        """

    async def counted(self, key: str) -> int:
        """A sum; 0 if there is none."""

    async def forget(self, *keys: str) -> None:
        """Delete these buckets and sums."""

    async def close(self) -> None:
        """Break off what is under way; no call may follow."""
