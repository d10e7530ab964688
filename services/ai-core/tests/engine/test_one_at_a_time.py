"""The frame for engines that compute one sequence at a time, over a small stepper of plain arithmetic."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_core.engine.backends.loading import CannotLoad
from ai_core.engine.backends.logits import Logits
from ai_core.engine.backends.one_at_a_time.backend import OneAtATime, Traits
from ai_core.engine.backends.one_at_a_time.lengths import context_length
from ai_core.engine.backends.one_at_a_time.pace import MOST_TOKENS, next_chunk
from ai_core.engine.backends.one_at_a_time.stepper import StepFailed
from ai_core.engine.backends.scripted import ByteVocabulary
from ai_core.engine.messages import Sampling
from ai_core.engine.tokens import Tokens
from port_rig import PortRig

VOCABULARY = 258
CONTEXT = 600
END = 257
UNENDING = Sampling(temperature=0, ignore_eos=True)


def logits_after(tokens: list[int], adapter: str) -> Logits:
    """What this model says: it depends on every token, on their order and on the adapter."""
    state = hash((adapter, tuple(tokens)))
    return np.random.default_rng(abs(state)).standard_normal(VOCABULARY).astype(np.float32)


@dataclass
class ToyStepper:
    """Keeps what it is fed, and fails where it is told to."""

    cuts: bool = True
    fails_at: int = -1
    nonsense_at: int = -1
    held: list[int] = field(default_factory=list)
    adapter: str = ""
    fed: int = 0
    broken: bool = False

    def rewind(self, length: int) -> int:
        assert length == 0 or not self.broken
        self.broken = False
        kept = length if self.cuts else 0
        del self.held[kept:]
        return len(self.held)

    def feed(self, tokens: Tokens) -> Logits:
        assert len(tokens)
        assert not self.broken
        self.fed += len(tokens)
        self.held += tokens.tolist()
        assert len(self.held) <= CONTEXT
        if self.fails_at in self.held:
            self.broken = True
            raise StepFailed("no memory left")
        if self.nonsense_at in self.held:
            return np.full(VOCABULARY, np.nan, np.float32)
        return logits_after(self.held, self.adapter)

    def select(self, adapter: str) -> None:
        assert not self.held
        self.adapter = adapter

    def set_threads(self, threads: int) -> None:
        assert threads >= 1

    def rest(self) -> None:
        self.held.clear()

    def close(self) -> None:
        self.held.clear()


def rig_over(stepper: ToyStepper) -> PortRig:
    traits = Traits("toy", CONTEXT, VOCABULARY, frozenset({END}), keeps_prefix=stepper.cuts)
    return PortRig(OneAtATime(stepper, traits, lambda: ("a", "b")), ByteVocabulary())


def expected(prompt: list[int], limit: int, adapter: str) -> list[int]:
    """The greedy answer, computed without any frame."""
    answer: list[int] = []
    while len(answer) < limit and len(prompt) + len(answer) < CONTEXT:
        logits = logits_after(prompt + answer, adapter)
        logits[END] = -np.inf
        answer.append(int(logits.argmax()))
    return answer


@dataclass(frozen=True)
class Request:
    """One sequence; it leaves after so many steps, if it is not over before."""

    prompt: list[int]
    namespace: str
    adapter: str
    limit: int
    leaves: int | None


words = st.sampled_from([b"Le contrat de travail", b"Le contrat", b" est la loi", b" des parties. " * 8])
prompts = st.lists(words, min_size=1, max_size=4).map(lambda parts: list(b"".join(parts)))
requests = st.builds(
    Request,
    prompts,
    st.sampled_from(["", "x"]),
    st.sampled_from(["", "a", "b"]),
    st.integers(1, 12),
    st.none() | st.integers(0, 6),
)


@given(st.lists(requests, min_size=1, max_size=8), st.booleans())
def test_nobody_notices_who_was_there_before(sequence: list[Request], cuts: bool) -> None:
    rig = rig_over(ToyStepper(cuts=cuts))
    for id_, request in enumerate(sequence):
        prompt = np.asarray(request.prompt, np.int32)
        held = rig.backend.count(prompt, request.namespace)
        rig.submit(id_, prompt, UNENDING, request.limit, namespace=request.namespace, adapter=request.adapter)
        assert 0 <= rig.cached[id_] <= held < len(prompt)
        steps = 0
        while rig.backend.stats().running and steps != request.leaves:
            rig.step()
            steps += 1
        rig.backend.cancel(id_)
        assert rig.backend.stats().free_sequences == 1
        whole = expected(request.prompt, request.limit, request.adapter)
        assert rig.said[id_] == whole[: len(rig.said[id_])]
        if request.leaves is None:
            assert rig.said[id_] == whole


def test_only_what_differs_is_computed_again() -> None:
    stepper = ToyStepper()
    rig = rig_over(stepper)
    system = list(b"Tu es Neo. " * 30)
    rig.answer(np.asarray(system + list(b"Bonjour"), np.int32), UNENDING, 4)
    computed = stepper.fed
    rig.answer(np.asarray(system + list(b"Merci"), np.int32), UNENDING, 4)
    assert rig.cached[0] == len(system)
    assert stepper.fed - computed == len(b"Merci") + 3


def test_a_long_prompt_takes_several_steps_so_that_its_caller_may_leave() -> None:
    rig = rig_over(ToyStepper())
    rig.submit(1, np.asarray(list(b"x" * 500), np.int32), UNENDING, 4)
    ready = [rig.step().prefix_ready[0][1] for _ in range(2)]
    assert 0 < ready[0] < ready[1]
    assert not rig.said[1]
    rig.backend.cancel(1)
    assert rig.backend.stats().free_sequences == 1


def test_a_step_that_fails_ends_one_sequence_only() -> None:
    rig = rig_over(ToyStepper(fails_at=ord("!")))
    rig.answer(np.asarray(list(b"Bonjour!"), np.int32), UNENDING, 4)
    assert rig.failed == {0: "no memory left"}
    assert rig.answer(np.asarray(list(b"Bonjour"), np.int32), UNENDING, 4) == expected(
        list(b"Bonjour"), 4, ""
    )


def test_numbers_that_are_none_end_one_sequence_only() -> None:
    rig = rig_over(ToyStepper(nonsense_at=ord("!")))
    rig.answer(np.asarray(list(b"Bonjour!"), np.int32), UNENDING, 4)
    assert "no number" in rig.failed[0]
    assert rig.answer(np.asarray(list(b"Bonjour"), np.int32), UNENDING, 4) == expected(
        list(b"Bonjour"), 4, ""
    )


def test_what_an_adapter_left_is_forgotten_with_it() -> None:
    stepper = ToyStepper()
    rig = rig_over(stepper)
    prompt = np.asarray(list(b"Bonjour"), np.int32)
    rig.answer(prompt, UNENDING, 4, adapter="a", namespace="a")
    assert rig.backend.count(prompt, "a") == len(prompt) - 1
    assert isinstance(rig.backend, OneAtATime)
    rig.backend.forget("b")
    assert rig.backend.count(prompt, "a") == len(prompt) - 1
    rig.backend.forget("a")
    assert rig.backend.count(prompt, "a") == 0
    assert (stepper.held, stepper.adapter) == ([], "")


@given(st.integers(1, MOST_TOKENS), st.floats(0, 100))
def test_pieces_grow_slowly_and_shrink_at_once(tokens: int, seconds: float) -> None:
    following = next_chunk(tokens, seconds)
    assert 1 <= following <= min(2 * tokens, MOST_TOKENS)
    if seconds > 1:
        assert following < tokens or following == 1


@pytest.mark.parametrize(
    ("wanted", "trained", "length"),
    [(0, 32_768, 8_192), (0, 2_048, 2_048), (1_024, 2_048, 1_024), (0, 0, 2_048)],
)
def test_contexts_are_as_long_as_is_sensible(wanted: int, trained: int, length: int) -> None:
    assert context_length(wanted, trained) == length


def test_a_context_longer_than_the_model_knows_is_refused() -> None:
    with pytest.raises(CannotLoad, match="context_length 4096 is more than the model's 2048 tokens"):
        context_length(4_096, 2_048)
