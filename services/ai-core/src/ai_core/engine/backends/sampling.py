"""From logits to the next token, with NumPy alone: for engines whose own samplers offer less.

In the order of llama.cpp's chain, so that one request means the same everywhere: bias, penalties, top-k,
top-p, min-p, temperature, draw. A seed gives the same answer again with the same engine; other engines
draw other numbers.
"""

from __future__ import annotations

import math
import secrets
from collections import Counter, deque
from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from ai_core.engine.backends.logits import Logits
from ai_core.engine.messages import Sampling
from ai_core.engine.tokens import Tokens

REPEAT_WINDOW = 64
"""Tokens that ``repeat_penalty`` looks back at."""
IMPLIED_TOP_K = 1000
"""Applied when a caller gives top_p without top_k: see ``messages.Sampling``."""

_BLOCK = 512
"""Chances of a whole vocabulary are added up in blocks of so many."""

_Chances = npt.NDArray[np.float64]


class Sampler:
    """Chooses the tokens of one sequence. Implements :class:`..constrained.Draws`.

    Args:
        sampling: what the request asks for.
        never: tokens that are not to be chosen.
    """

    def __init__(self, sampling: Sampling, never: Collection[int] = ()) -> None:
        self._sampling = sampling
        bias = {**sampling.logit_bias, **dict.fromkeys(never, -math.inf)}
        self._biased = np.fromiter(bias, dtype=np.int64, count=len(bias))
        self._biases = np.fromiter(bias.values(), dtype=np.float32, count=len(bias))
        self._counts: Counter[int] = Counter()
        self._recent: deque[int] = deque(maxlen=REPEAT_WINDOW)
        seed = secrets.randbits(64) if sampling.seed is None else sampling.seed
        self._random = np.random.default_rng(abs(seed))

    def draw(self, logits: Logits, among: Tokens | None = None) -> int:
        """A token that may still be refused: :meth:`accept` has to follow for the one that is taken.

        Args:
            logits: of this sequence; they stay as they are.
            among: the tokens to choose from; None: all.
        """
        adjusted = self._adjusted(logits)
        if among is None and self._sampling.temperature > 0 and self._sampling.top_p >= 1:
            if not (self._sampling.top_k or self._sampling.min_p):
                return _drawn_from_all(adjusted, self._sampling.temperature, self._random.random())
            if not self._sampling.top_k:
                among = _likely(adjusted, self._sampling.min_p)
        tokens = np.arange(len(logits)) if among is None else among
        values = adjusted[tokens].astype(np.float64)
        if self._sampling.temperature == 0:
            return int(tokens[values.argmax()])
        kept = self._filtered(values)
        chances = _softmax(values[kept] / self._sampling.temperature)
        return int(tokens[kept[_place(chances, self._random.random())]])

    def accept(self, token: int) -> None:
        """This token was taken: penalties remember it."""
        self._counts[token] += 1
        self._recent.append(token)

    def _adjusted(self, logits: Logits) -> Logits:
        """The logits with biases and penalties."""
        sampling = self._sampling
        repeats = sampling.repeat_penalty != 1.0 and bool(self._recent)
        counts = bool(sampling.frequency_penalty or sampling.presence_penalty) and bool(self._counts)
        if not (len(self._biased) or repeats or counts):
            return logits
        adjusted = logits.copy()
        adjusted[self._biased] += self._biases
        if repeats:
            seen = np.fromiter(set(self._recent), dtype=np.int64)
            values = adjusted[seen]
            factor = np.float32(sampling.repeat_penalty)
            adjusted[seen] = np.where(values > 0, values / factor, values * factor)
        if counts:
            seen = np.fromiter(self._counts, dtype=np.int64)
            times = np.fromiter(self._counts.values(), dtype=np.float32)
            adjusted[seen] -= times * sampling.frequency_penalty + sampling.presence_penalty
        return adjusted

    def _filtered(self, values: _Chances) -> npt.NDArray[np.intp]:
        """Which of the values may be drawn, likeliest first where that had to be found out."""
        sampling = self._sampling
        top_k = sampling.top_k or (IMPLIED_TOP_K if sampling.top_p < 1 else 0)
        kept: npt.NDArray[np.intp] = np.arange(len(values))
        if 0 < top_k < len(values):
            kept = np.argpartition(values, len(values) - top_k)[len(values) - top_k :]
        if top_k or sampling.top_p < 1:
            # By value, then by place: ties are drawn alike every time.
            kept = kept[np.lexsort((kept, -values[kept]))]
        if sampling.top_p < 1:
            before = np.cumsum(_softmax(values[kept]))
            kept = kept[: 1 + int(np.searchsorted(before, sampling.top_p, side="left"))]
        if sampling.min_p > 0:
            kept = kept[values[kept] >= values.max() + math.log(sampling.min_p)]
        return kept


def _likely(logits: Logits, min_p: float) -> Tokens | None:
    """The tokens that ``min_p`` leaves; None: nothing is allowed, and all are alike."""
    largest = float(logits.max())
    if not math.isfinite(largest):
        return None
    # One more than it leaves, by rounding, does no harm: it is looked at again.
    return np.flatnonzero(logits >= np.float32(largest + math.log(min_p) - 1e-3)).astype(np.int32)


def _drawn_from_all(logits: Logits, temperature: float, random: float) -> int:
    """Where a random number in [0, 1) falls among the chances of all tokens, without a number in double
    precision for each of them."""
    largest = logits.max()
    if not math.isfinite(largest):
        return int(random * len(logits))
    raised = np.exp((logits - largest) / np.float32(temperature))
    edges = np.cumsum(np.add.reduceat(raised, np.arange(0, len(raised), _BLOCK), dtype=np.float64))
    aim = random * float(edges[-1])
    block = min(int(np.searchsorted(edges, aim, side="right")), len(edges) - 1)
    own = raised[block * _BLOCK : (block + 1) * _BLOCK]
    inner = np.cumsum(own, dtype=np.float64)
    place = int(np.searchsorted(inner, aim - (float(edges[block - 1]) if block else 0.0), side="right"))
    # The same numbers, added up in another order, may fall short of the aim by a rounding.
    return block * _BLOCK + (place if place < len(own) else int(np.flatnonzero(own)[-1]))


def _softmax(values: _Chances) -> _Chances:
    # A likeliest value of minus infinity: nothing is allowed, and all are alike.
    largest = values.max()
    raised: _Chances = np.exp(values - (largest if math.isfinite(largest) else 0.0))
    total = float(raised.sum())
    return raised / total if total else np.full(len(values), 1 / len(values))


def _place(chances: _Chances, random: float) -> int:
    """Where a random number in [0, 1) falls."""
    edges = np.cumsum(chances)
    return min(int(np.searchsorted(edges, random * edges[-1], side="right")), len(chances) - 1)
