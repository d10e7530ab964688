"""What one model holds in memory, as far as is known: estimated first, then measured. Pure."""

from __future__ import annotations

from dataclasses import dataclass

_MARGIN = 1 / 16
"""Of what was measured: the next load, or a larger batch, takes a little more."""


@dataclass(slots=True)
class Footprint:
    """Bytes of one model's processes.

    An estimate counts until something better is known. What was measured right after a load is not the
    end of it: buffers are touched with the first answers. So a model is taken at its expected size until
    it has answered, and at the most that was seen of it from then on.
    """

    estimate: int
    """What its files and its configuration say."""
    cache_estimate: int = 0
    """Of that: the cache of keys and values."""
    learned: int | None = None
    """The most that was measured in earlier lives."""
    measured: int = 0
    """The last measurement of this life; 0: none yet."""
    _peak: int = 0
    _answered: bool = False
    _resting: bool = False
    _saved: int | None = None

    @property
    def full(self) -> int:
        """What it counts for while it serves."""
        return _with_margin(self._peak) if self._answered else max(self._peak, self._expected)

    @property
    def held(self) -> int:
        """What it counts for while its process lives."""
        return min(self.measured, self.full) if self._resting else self.full

    @property
    def spare(self) -> int:
        """What it would give back if it rested."""
        if self._resting:
            return 0
        saved = self.cache_estimate if self._saved is None else self._saved
        return min(saved, self.full)

    @property
    def resting(self) -> bool:
        """It has given back what it can spare."""
        return self._resting

    def note(self, measured: int, *, answered: bool = False) -> None:
        """A measurement. ``answered``: it has given an answer since its load."""
        if measured <= 0:
            return
        self.measured = measured
        if not self._resting:
            self._peak = max(self._peak, measured)
            self._answered = self._answered or answered

    def rested(self, measured: int) -> None:
        """It has given back what it can spare, and this is left."""
        before = self.measured
        self._resting = True
        if measured > 0:
            self.measured = measured
            self._saved = max(0, before - measured)

    def woke(self) -> None:
        """It is about to take everything back."""
        self._resting = False

    def ended(self) -> None:
        """Its process is gone; the next one is expected to become as large."""
        if self._answered or self._peak > self._expected:
            self.learned = self._peak
        self.measured = self._peak = 0
        self._answered = self._resting = False

    @property
    def _expected(self) -> int:
        return self.estimate if self.learned is None else _with_margin(self.learned)


def _with_margin(measured: int) -> int:
    return measured + int(measured * _MARGIN)
