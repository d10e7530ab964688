"""What a step will cost, learned from the steps before.

On a CPU the cost of computing a batch is close to linear in its rows (matrix products), in the
cells that its rows look at (attention), and in the cells that are fetched for that, once for several
neighbouring rows. With ggml's attention the coefficients are others from 64 rows on, where it works
in tiles. So there are two linear models, each fitted while it runs by recursive least squares with
forgetting (Haykin, "Adaptive Filter Theory", ch. 10).
"""

from __future__ import annotations

from dataclasses import dataclass, field

TILE_ROWS = 64
"""From this many rows on, llama.cpp's flash attention on the CPU works in tiles."""

FETCH_ROWS = 8
"""Neighbouring rows of a prompt for which a cell is fetched once, about."""

_Vector = tuple[float, float, float, float]
_UNCERTAINTY = (400.0, 4.0, 4.0, 4.0)
"""Variances of the weights at the start."""
_SIZE = range(len(_UNCERTAINTY))


@dataclass(frozen=True, slots=True)
class Load:
    """One call: its rows, the pairs of a row and a cell that it looks at, and the cells fetched."""

    rows: int = 0
    attended: int = 0
    fetched: int = 0

    def plus(self, rows: int, depth: int) -> Load:
        """This load and a run of ``rows`` tokens of one sequence that begins at position ``depth``."""
        return Load(
            self.rows + rows,
            self.attended + rows * depth + rows * rows // 2,
            self.fetched + -(-rows // FETCH_ROWS) * (depth + rows // 2),
        )


@dataclass(slots=True)
class _Linear:
    """y = w·x with x = (1, rows, attended / 1000, fetched / 1000), in milliseconds."""

    weights: list[float]
    forgetting: float = 0.99
    covariance: list[list[float]] = field(
        default_factory=lambda: [[_UNCERTAINTY[i] if i == j else 0.0 for j in _SIZE] for i in _SIZE]
    )
    observations: int = 0

    def predict(self, x: _Vector) -> float:
        return sum(w * v for w, v in zip(self.weights, x, strict=True))

    def observe(self, x: _Vector, y: float) -> None:
        base = [sum(row[i] * x[i] for i in _SIZE) for row in self.covariance]
        scale = self.forgetting + sum(x[i] * base[i] for i in _SIZE)
        error = y - self.predict(x)
        self.weights = [w + b / scale * error for w, b in zip(self.weights, base, strict=True)]
        self.covariance = self._forget(
            [[self.covariance[i][j] - base[i] * base[j] / scale for j in _SIZE] for i in _SIZE]
        )
        self.observations += 1

    def _forget(self, covariance: list[list[float]]) -> list[list[float]]:
        """Old observations count less, but only while no direction's uncertainty outgrows the one at
        the start: a load that never varies would blow it up otherwise. Kept symmetric against rounding."""
        bounded = all(covariance[i][i] / self.forgetting <= _UNCERTAINTY[i] for i in _SIZE)
        divisor = 2.0 * (self.forgetting if bounded else 1.0)
        return [[(covariance[i][j] + covariance[j][i]) / divisor for j in _SIZE] for i in _SIZE]


_SPIKE = 3.0
_SPIKES_IGNORED_AFTER = 8


class StepCost:
    """Predicts milliseconds of a call and learns from measured ones.

    The start values are those of a half-billion-parameter model on two cores; a few steps replace
    them by what is true here.

    Args:
        even: whether rows cost the same however many there are, as with our own kernels and with OpenVINO.
    """

    def __init__(self, *, even: bool = False) -> None:
        if even:
            self._plain = self._tiled = _Linear([30.0, 1.5, 0.5, 1.0])
        else:
            self._plain = _Linear([30.0, 5.0, 8.0, 2.0])
            self._tiled = _Linear([30.0, 4.0, 2.0, 0.0])

    def predict(self, load: Load) -> float:
        """Milliseconds, never negative; 0 for an empty call."""
        return max(0.0, self._model(load).predict(_features(load))) if load.rows else 0.0

    def observe(self, load: Load, milliseconds: float) -> None:
        """A call has taken so long. A single spike (the machine was busy) counts as three times the
        expected cost at most; a lasting change is still learned."""
        if not load.rows:
            return
        model = self._model(load)
        if model.observations >= _SPIKES_IGNORED_AFTER:
            milliseconds = min(milliseconds, _SPIKE * max(self.predict(load), 1.0))
        model.observe(_features(load), milliseconds)

    def _model(self, load: Load) -> _Linear:
        return self._tiled if load.rows >= TILE_ROWS else self._plain


def _features(load: Load) -> _Vector:
    return (1.0, float(load.rows), load.attended / 1000.0, load.fetched / 1000.0)
