"""What has to be equal for two requests to have the same answer."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_core.engine.messages import (
    CallPiece,
    ChatMessage,
    ChatOptions,
    Delta,
    Finished,
    Grammar,
    Sampling,
    Submit,
    TokenLogprob,
    Tool,
)
from ai_core.inference.repetition.cache import KeptAnswer, ResponseCache
from ai_core.inference.repetition.policy import SCHEDULING, applies, deterministic, identity
from ai_core.inference.requests import CachePolicy
from servicekit.key_value.embedded import EmbeddedStore
from servicekit.storage.sealing import PlainSeal

GREEDY = Submit(id=1, prompt="x", sampling=Sampling(temperature=0))


def others(struct: msgspec.Struct) -> dict[str, Any]:
    """For each field another value of the same kind, made from its type."""
    values = {}
    for field in msgspec.structs.fields(struct):
        own = getattr(struct, field.name)
        values[field.name] = next(
            value for value in _samples(field.type, field.name) if value != own and value is not None
        )
    return values


def _samples(kind: Any, name: str) -> list[Any]:
    known: dict[str, list[Any]] = {
        "messages": [[ChatMessage("user", "y")]],
        "inputs": [["y"]],
        "sampling": [Sampling(temperature=0, top_p=0.123)],
        "stop": [["y"]],
        "chat": [ChatOptions(tools=[Tool("f")])],
        "grammar": [Grammar("json_object")],
        "logit_bias": [{5: 1.0}],
        "tools": [[Tool("f")]],
        "tool_choice": ["auto", "required"],
        "template_options": [{"a": True}],
    }
    if name in known:
        return known[name]
    samples: list[Any] = [True, False, 3, 0.5, "y"]
    return [sample for sample in samples if _fits(sample, kind)]


def _fits(sample: Any, kind: Any) -> bool:
    try:
        msgspec.convert(sample, kind, strict=True)
    except msgspec.ValidationError:
        return False
    return True


@pytest.mark.parametrize("name", others(GREEDY))
def test_every_field_of_a_request_counts_but_those_that_say_when(name: str) -> None:
    changed = msgspec.structs.replace(GREEDY, **{name: others(GREEDY)[name]})
    assert (identity(changed, 0) == identity(GREEDY, 0)) == (name in SCHEDULING)


@pytest.mark.parametrize("name", others(GREEDY.sampling))
def test_every_field_of_sampling_counts(name: str) -> None:
    sampling = msgspec.structs.replace(GREEDY.sampling, **{name: others(GREEDY.sampling)[name]})
    assert identity(msgspec.structs.replace(GREEDY, sampling=sampling), 0) != identity(GREEDY, 0)


@pytest.mark.parametrize("name", others(ChatOptions()))
def test_every_option_of_a_chat_counts(name: str) -> None:
    chat = msgspec.structs.replace(ChatOptions(), **{name: others(ChatOptions())[name]})
    assert identity(msgspec.structs.replace(GREEDY, chat=chat), 0) != identity(GREEDY, 0)


def test_scheduling_names_fields_that_there_are() -> None:
    assert set(Submit.__struct_fields__) >= SCHEDULING


def test_the_order_of_biases_does_not_count_and_that_of_a_schema_does() -> None:
    def biased(*tokens: int) -> Submit:
        sampling = Sampling(temperature=0, logit_bias={token: float(token) for token in tokens})
        return msgspec.structs.replace(GREEDY, sampling=sampling)

    def with_schema(*names: str) -> Submit:
        tool = Tool("f", parameters={"properties": {name: {} for name in names}})
        return msgspec.structs.replace(GREEDY, chat=ChatOptions(tools=[tool]))

    assert identity(biased(1, 2), 0) == identity(biased(2, 1), 0)
    assert identity(with_schema("a", "b"), 0) != identity(with_schema("b", "a"), 0)


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(temperature=0), True),
        (Sampling(temperature=0.7, seed=0), True),
        (Sampling(temperature=0.7), False),
        (Sampling(temperature=0.001), False),
    ],
)
def test_deterministic_is_without_chance_or_with_a_seed(sampling: Sampling, expected: bool) -> None:
    assert deterministic(sampling) is expected
    policies: list[tuple[CachePolicy, bool]] = [("auto", expected), ("always", True), ("never", False)]
    submit = msgspec.structs.replace(GREEDY, sampling=sampling)
    assert [(policy, applies(policy, submit)) for policy, _ in policies] == policies


texts = st.text(max_size=5)
logprobs = st.none() | st.lists(st.builds(TokenLogprob, st.binary(max_size=3), st.floats(-9, 0)), max_size=2)
deltas = st.builds(
    Delta,
    st.integers(0, 9),
    texts,
    st.integers(0, 9),
    logprobs,
    reasoning=texts,
    calls=st.lists(st.builds(CallPiece, index=st.integers(0, 3)), max_size=2),
)


@given(st.lists(deltas, max_size=5), st.sampled_from(["stop", "length"]), texts)
async def test_whatever_an_answer_consists_of_comes_back(events: list[Delta], reason: Any, text: str) -> None:
    finished = Finished(1, reason, text, 7, 3, 2, 0.25, 0.5, vectors=text.encode())
    kept = KeptAnswer.of(7, [*events, finished])
    assert kept is not None
    cache = ResponseCache(EmbeddedStore(10_000_000), PlainSeal(), ttl=10.0)
    place = cache.place("r", "k", b"i")
    await cache.put(place, kept)
    assert await cache.get(place) == kept


@given(st.lists(deltas, max_size=3))
def test_what_has_no_end_is_no_answer(events: list[Delta]) -> None:
    assert KeptAnswer.of(7, events) is None
    assert KeptAnswer.of(7, [*events, Finished(1, "cancelled", "", 7, 3, 2, 0.0, 0.0)]) is None


def test_places_tell_revisions_and_keys_apart() -> None:
    own = ResponseCache(EmbeddedStore(1), PlainSeal(), ttl=1.0)
    shared = ResponseCache(EmbeddedStore(1), PlainSeal(), ttl=1.0, shared=True)
    assert len({own.place(revision, key, b"i") for revision in ("r", "s") for key in ("", "k", "l")}) == 6
    assert len({shared.place(revision, key, b"i") for revision in ("r", "s") for key in ("", "k", "l")}) == 2
