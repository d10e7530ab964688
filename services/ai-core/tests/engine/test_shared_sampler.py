"""Our own sampler chooses as llama.cpp's chain does; and draws as the chances say."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_core.engine.backends.llama_cpp.logs import forward_llama_logs
from ai_core.engine.backends.llama_cpp.model import Model
from ai_core.engine.backends.llama_cpp.sampling import Sampler as LlamaSampler
from ai_core.engine.backends.logits import Logits
from ai_core.engine.backends.sampling import Sampler
from ai_core.engine.messages import Sampling
from ai_core_service import DEMO_MODEL

VOCABULARY = 4096
DRAWS = 2_000


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    forward_llama_logs("error")
    loaded = Model(DEMO_MODEL, lambda _progress: None)
    yield loaded
    loaded.close()


def some_logits(seed: int) -> Logits:
    """As models give them: no two alike, with a few far in front."""
    return (np.random.default_rng(seed).standard_normal(VOCABULARY) * 4).astype(np.float32)


tokens = st.integers(0, 40)
penalties = st.fixed_dictionaries(
    {
        "repeat_penalty": st.sampled_from([1.0, 1.1, 1.7, 0.8]),
        "frequency_penalty": st.sampled_from([0.0, 0.5, -0.5, 2.0]),
        "presence_penalty": st.sampled_from([0.0, 1.0, -1.0]),
        "logit_bias": st.dictionaries(tokens, st.floats(-100, 100, width=16), max_size=4),
    }
)


@given(penalties, st.lists(tokens, max_size=100), st.integers(0, 1 << 32))
def test_biases_and_penalties_are_those_of_llama_cpp(
    model: Model, wanted: dict[str, Any], said: list[int], seed: int
) -> None:
    sampling = Sampling(temperature=0, **wanted)
    logits = some_logits(seed)
    # What is said stands in front, so that penalties decide.
    logits[:41] += 8
    ours, theirs = Sampler(sampling), LlamaSampler(model.vocabulary, sampling, 200)
    for token in said:
        ours.accept(token)
        theirs.accept(token)
    before = logits.copy()
    assert ours.draw(logits) == theirs.draw(logits)
    assert np.array_equal(logits, before)
    theirs.close()


@pytest.mark.parametrize(
    "filters",
    [
        {"top_k": 5, "top_p": 1.0},
        {"top_k": 0, "top_p": 0.6},
        {"top_k": 40, "top_p": 0.8, "min_p": 0.05},
        {"top_k": 0, "top_p": 1.0, "min_p": 0.3},
        {"top_k": 0, "top_p": 1.0},
    ],
)
@pytest.mark.parametrize("temperature", [0.7, 1.6])
def test_tokens_are_drawn_as_often_as_by_llama_cpp(
    model: Model, filters: dict[str, Any], temperature: float
) -> None:
    logits = some_logits(4)
    sampling = Sampling(temperature=temperature, seed=1, **filters)
    ours, theirs = Sampler(sampling), LlamaSampler(model.vocabulary, sampling, 200)
    mine = Counter(ours.draw(logits) for _ in range(DRAWS))
    other = Counter(theirs.draw(logits) for _ in range(DRAWS))
    theirs.close()
    for token in mine.keys() | other.keys():
        share = (mine[token] + other[token]) / (2 * DRAWS)
        # Five standard deviations of the difference.
        allowed = 5 * math.sqrt(2 * share * (1 - share) / DRAWS) + 1e-9
        assert abs(mine[token] - other[token]) / DRAWS <= allowed


rows = arrays.arrays(np.float32, st.integers(1, 300), elements=st.floats(-50, 50, width=32))


@given(rows, st.data())
def test_only_what_the_filters_leave_is_drawn(logits: Logits, data: st.DataObject) -> None:
    top_k = data.draw(st.integers(0, 20))
    top_p = data.draw(st.floats(0.01, 1.0))
    min_p = data.draw(st.floats(0.0, 1.0))
    temperature = data.draw(st.floats(0.01, 2.0))
    sampler = Sampler(Sampling(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, seed=3))
    token = sampler.draw(logits)
    likelier = int((logits > logits[token]).sum())
    chances = np.exp(logits.astype(np.float64) - logits.max())
    chances /= chances.sum()
    if top_k:
        assert likelier < top_k
    if top_p < 1 and not top_k:
        assert chances[logits > logits[token]].sum() <= top_p + 1e-6
    if min_p:
        assert chances[token] >= min_p * chances.max() * (1 - 1e-5)


@given(st.integers(1, 3_000), st.integers(0, 99), st.floats(0.05, 3.0), st.data())
def test_of_all_tokens_the_one_is_drawn_where_the_random_number_falls(
    size: int, seed: int, temperature: float, data: st.DataObject
) -> None:
    """Added up in blocks and in single precision, and still where it belongs."""
    logits = np.random.default_rng(seed).normal(0, 4, size).astype(np.float32)
    banned = data.draw(st.sets(st.integers(0, size - 1), max_size=min(size - 1, 600)))
    logits[list(banned)] = -np.inf
    token = Sampler(Sampling(temperature=temperature, top_p=1.0, seed=seed)).draw(logits)
    random = np.random.default_rng(seed).random()
    chances = np.exp((logits.astype(np.float64) - logits.max()) / temperature)
    edges = np.cumsum(chances / chances.sum())
    assert token not in banned
    assert (edges[token - 1] if token else 0.0) - 1e-5 <= random <= edges[token] + 1e-5


@given(rows, st.lists(st.integers(0, 299), min_size=1, max_size=20, unique=True), st.integers(0, 99))
def test_what_may_not_come_does_not_come(logits: Logits, allowed: list[int], seed: int) -> None:
    among = np.asarray([token for token in allowed if token < len(logits)] or [0], np.int32)
    sampler = Sampler(Sampling(temperature=1.0, seed=seed))
    assert sampler.draw(logits, among) in among


@given(rows.filter(lambda row: len(row) > 2), st.integers(0, 99))
def test_banned_tokens_are_never_chosen(logits: Logits, seed: int) -> None:
    banned = {int(logits.argmax()), 0}
    for temperature in (0.0, 1.0):
        sampler = Sampler(Sampling(temperature=temperature, seed=seed), banned)
        assert sampler.draw(logits) not in banned


def test_the_same_seed_draws_the_same_tokens() -> None:
    logits = some_logits(9)
    first, again, other = (Sampler(Sampling(temperature=2.0, top_p=1.0, seed=seed)) for seed in (7, 7, 8))
    drawn = [[sampler.draw(logits) for _ in range(20)] for sampler in (first, again, other)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_without_a_seed_no_two_draw_alike() -> None:
    logits = some_logits(9)
    one, two = (Sampler(Sampling(temperature=2.0, top_p=1.0)) for _ in range(2))
    assert [one.draw(logits) for _ in range(20)] != [two.draw(logits) for _ in range(20)]
