"""The likeliest tokens, from which the next one is drawn."""

from __future__ import annotations

import hypothesis.extra.numpy as arrays
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ai_core.engine.backends.llama_cpp.sampling import likeliest
from ai_core.engine.backends.logits import Logits

VOCABULARY = 4_000
numbers = st.floats(-40, 40, width=32)
some_logits = arrays.arrays(np.float32, st.integers(200, VOCABULARY), elements=numbers, fill=numbers)


@st.composite
def bell_shaped(draw: st.DrawFn) -> Logits:
    """As models give them: no two alike, with a few far in front."""
    random = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    logits: Logits = random.normal(0, draw(st.floats(0.01, 10)), VOCABULARY).astype(np.float32)
    logits[: draw(st.integers(0, 100))] += draw(st.floats(0, 30))
    return logits


@st.composite
def in_order(draw: st.DrawFn) -> Logits:
    """The likeliest ones side by side, where a sample of the vocabulary tells least."""
    logits: Logits = np.sort(draw(bell_shaped()))[:: draw(st.sampled_from([1, -1]))].copy()
    return logits


@given(st.one_of(some_logits, bell_shaped(), in_order()), st.integers(1, 200))
def test_nobody_likelier_is_left_out_and_nobody_less_likely_comes_in(logits: Logits, count: int) -> None:
    candidates = likeliest(logits, count)
    last = np.sort(logits)[-count]
    assert candidates["id"].tolist() == np.flatnonzero(logits >= last).tolist()
    assert candidates["logit"].tolist() == logits[candidates["id"]].tolist()


def test_forbidden_tokens_come_last() -> None:
    logits = np.full(VOCABULARY, -np.inf, np.float32)
    logits[[7, 1_000, 3_999]] = [1, 3, 2]
    assert {7, 1_000, 3_999} <= set(likeliest(logits, 40)["id"].tolist())
    assert set(likeliest(logits, 3)["id"].tolist()) == {7, 1_000, 3_999}
