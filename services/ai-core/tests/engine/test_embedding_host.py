"""The host of an embedding model: who gets a turn, and what becomes of those who leave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from ai_core.engine.backends.embedding_port import CannotEmbed, EmbedderCapabilities, Vectors
from ai_core.engine.backends.scripted import ByteVocabulary
from ai_core.engine.embedding.host import EmbeddingHost
from ai_core.engine.embedding.intake import EmbeddingIntake
from ai_core.engine.messages import (
    Accepted,
    Cancel,
    ChatMessage,
    Failed,
    Finished,
    Message,
    Refused,
    SetThreads,
    Step,
    Submit,
)
from ai_core.engine.tokens import Tokens

ROWS, INPUTS, CONTEXT, DIMENSIONS = 64, 4, 100, 3
POISON = ord("!")


class SumEmbedder:
    """Adds up token ids; remembers its calls; fails as a whole where one input has a ``!``."""

    def __init__(self, *, matryoshka: bool = False) -> None:
        self.calls: list[list[str]] = []
        self.threads = 0
        self.matryoshka = matryoshka

    def capabilities(self) -> EmbedderCapabilities:
        return EmbedderCapabilities(
            "sum", CONTEXT, ROWS, INPUTS, DIMENSIONS, "mean", vocabulary=258, matryoshka=self.matryoshka
        )

    def embed(self, inputs: Sequence[Tokens]) -> Vectors:
        assert 1 <= len(inputs) <= INPUTS
        assert sum(map(len, inputs)) <= ROWS or len(inputs) == 1
        self.calls.append([bytes(tokens.tolist()).decode() for tokens in inputs])
        if any(POISON in tokens for tokens in inputs):
            raise CannotEmbed("it has a !")
        return np.asarray([[tokens.sum(), len(tokens), 1] for tokens in inputs], np.float32)

    def set_threads(self, threads: int) -> None:
        self.threads = threads

    def close(self) -> None:
        pass


class Rig:
    """A host, with everything that it said."""

    def __init__(
        self, *, max_waiting: int = 100, max_prompt_tokens: int = 0, matryoshka: bool = False
    ) -> None:
        self.embedder = SumEmbedder(matryoshka=matryoshka)
        intake = EmbeddingIntake(ByteVocabulary(), self.embedder.capabilities(), max_prompt_tokens)
        self.now = 0.0
        self.said: list[Message] = []
        self.host = EmbeddingHost(
            self.embedder, intake, max_waiting=max_waiting, clock=self._clock, send=self.said.append
        )

    def _clock(self) -> float:
        self.now += 1e-6
        return self.now

    def submit(self, id_: int, *inputs: str | list[int], **more: Any) -> Message:
        self.host.receive(Submit(id=id_, inputs=list(inputs), **more))
        return self.said[-1]

    def run(self) -> None:
        while self.host.busy:
            self.host.step()

    def steps(self) -> list[Step]:
        return [message for message in self.said if isinstance(message, Step)]

    @property
    def finished(self) -> dict[int, Finished]:
        return {one.id: one for step in self.steps() for one in step.finished}

    @property
    def failed(self) -> dict[int, Failed]:
        return {one.id: one for step in self.steps() for one in step.failed}

    @property
    def started(self) -> list[int]:
        return [id_ for step in self.steps() for id_ in step.started]

    def vectors(self, id_: int, dimensions: int = DIMENSIONS) -> Vectors:
        return np.frombuffer(self.finished[id_].vectors, np.float32).reshape(-1, dimensions)


def expected(*texts: str) -> Vectors:
    raw = np.asarray([[sum(text.encode()), len(text.encode()), 1] for text in texts], np.float32)
    return np.asarray(raw / np.linalg.norm(raw, axis=1, keepdims=True), np.float32)


def test_each_input_gets_its_vector_in_order() -> None:
    rig = Rig()
    assert rig.submit(1, "un", "deux", [ord("3")]) == Accepted(1, 7)
    rig.run()
    assert np.allclose(rig.vectors(1), expected("un", "deux", "3"))
    assert rig.finished[1].prompt_tokens == 7
    assert rig.started == [1]


def test_inputs_of_several_requests_share_a_call() -> None:
    rig = Rig()
    for id_ in range(3):
        rig.submit(id_, f"text {id_}")
    rig.host.step()
    assert rig.embedder.calls == [["text 0", "text 1", "text 2"]]
    assert sorted(rig.finished) == [0, 1, 2]


def test_one_input_does_not_wait_for_anothers_thousand() -> None:
    rig = Rig()
    rig.submit(1, *(f"input {number} of a thousand" for number in range(1_000)), fairness_key="bulk")
    rig.host.step()
    rig.submit(2, "a question", fairness_key="person")
    rig.host.step()
    rig.host.step()
    assert 2 in rig.finished
    assert 1 not in rig.finished
    rig.run()
    assert len(rig.vectors(1)) == 1_000


def test_not_even_under_the_same_key() -> None:
    rig = Rig()
    rig.submit(1, *(f"input {number} of a thousand" for number in range(1_000)))
    rig.host.step()
    rig.submit(2, "a question")
    rig.host.step()
    rig.host.step()
    assert 2 in rig.finished


def test_keys_get_equal_shares_however_much_they_ask_for() -> None:
    rig = Rig()
    for id_ in range(9):
        rig.submit(id_, *["greedy inputs of forty characters, each."] * 20, fairness_key="a")
    rig.submit(100, *["modest inputs of forty characters, each."] * 20, fairness_key="b")
    while 100 not in rig.finished:
        rig.host.step()
    greedy = sum(call[0].startswith("greedy") for call in rig.embedder.calls)
    modest = sum(call[0].startswith("modest") for call in rig.embedder.calls)
    assert abs(greedy - modest) <= 2


def test_higher_priority_goes_first() -> None:
    rig = Rig()
    for id_ in range(20):
        rig.submit(id_, "x" * 60)
    rig.submit(100, "urgent", priority=1)
    rig.host.step()
    assert 100 in rig.finished


def test_who_leaves_costs_no_further_call() -> None:
    rig = Rig()
    rig.submit(1, *["an input of many"] * 100)
    rig.host.step()
    calls = len(rig.embedder.calls)
    rig.host.receive(Cancel(1))
    rig.run()
    assert len(rig.embedder.calls) == calls
    assert rig.finished[1].reason == "cancelled"
    assert rig.finished[1].vectors == b""


def test_a_cancel_for_somebody_unknown_is_ignored() -> None:
    rig = Rig()
    rig.host.receive(Cancel(7))
    assert not rig.host.busy


def test_only_the_request_that_cannot_be_computed_fails() -> None:
    rig = Rig()
    for id_, text in enumerate(["good", "bad!", "fine"]):
        rig.submit(id_, text)
    rig.run()
    assert sorted(rig.finished) == [0, 2]
    assert rig.failed[1].code == "decode_error"
    assert np.allclose(rig.vectors(2), expected("fine"))
    assert not rig.host.busy


def test_who_waits_too_long_is_told_so_and_who_has_begun_is_finished() -> None:
    rig = Rig()
    rig.submit(1, *["x" * 60] * 3, timeout=5, fairness_key="a")
    rig.host.step()
    rig.submit(2, "y" * 60, timeout=5, priority=-1)
    rig.now = 10
    rig.run()
    assert rig.failed[2].code == "timeout"
    assert 1 in rig.finished


def test_a_suspect_is_computed_alone() -> None:
    rig = Rig()
    rig.submit(1, "before")
    rig.submit(2, "suspect", alone=True)
    rig.submit(3, "after")
    rig.run()
    assert ["suspect"] in rig.embedder.calls
    assert sorted(rig.finished) == [1, 2, 3]


def test_the_queue_has_an_end() -> None:
    rig = Rig(max_waiting=2)
    rig.submit(1, "a")
    rig.submit(2, "b")
    refusal = rig.submit(3, "c")
    assert isinstance(refusal, Refused)
    assert refusal.code == "queue_full"


def test_shorter_vectors_only_from_models_that_are_made_for_it() -> None:
    refusal = Rig().submit(1, "text", dimensions=2)
    assert isinstance(refusal, Refused)
    assert (refusal.code, refusal.parameter) == ("invalid_parameter", "dimensions")
    rig = Rig(matryoshka=True)
    rig.submit(1, "text", dimensions=2)
    too_long = rig.submit(2, "text", dimensions=4)
    rig.run()
    assert np.allclose(np.linalg.norm(rig.vectors(1, 2), axis=1), 1)
    assert isinstance(too_long, Refused)
    assert too_long.parameter == "dimensions"


def test_the_models_own_length_is_always_possible() -> None:
    rig = Rig()
    assert isinstance(rig.submit(1, "text", dimensions=DIMENSIONS), Accepted)


@pytest.mark.parametrize(
    ("inputs", "code", "parameter"),
    [
        ([""], "invalid_prompt", "input"),
        (["fine", []], "invalid_prompt", "input[1]"),
        (["x" * (CONTEXT + 1)], "context_length_exceeded", "input"),
        (["x" * 10_000], "context_length_exceeded", "input"),
        (["fine", "fine", [1] * (CONTEXT + 1)], "context_length_exceeded", "input[2]"),
        ([[1, 258]], "invalid_parameter", "input"),
        ([[-1]], "invalid_parameter", "input"),
    ],
)
def test_what_cannot_be_embedded_is_refused_by_name(inputs: Any, code: str, parameter: str) -> None:
    rig = Rig()
    refusal = rig.submit(1, *inputs)
    assert isinstance(refusal, Refused)
    assert (refusal.code, refusal.parameter) == (code, parameter)
    assert not rig.host.busy


def test_the_operators_bound_on_prompts_counts_for_each_input() -> None:
    rig = Rig(max_prompt_tokens=10)
    assert isinstance(rig.submit(1, "x" * 10, "y" * 10), Accepted)
    refusal = rig.submit(2, "x" * 11)
    assert isinstance(refusal, Refused)
    assert "10 tokens" in refusal.message


def test_an_embedding_model_does_not_chat() -> None:
    rig = Rig()
    rig.host.receive(Submit(id=1, messages=[ChatMessage("user", "Bonjour")]))
    refusal = rig.said[-1]
    assert isinstance(refusal, Refused)
    assert (refusal.code, refusal.parameter) == ("model_not_capable", "model")


def test_numbers_for_the_dashboard() -> None:
    rig = Rig()
    rig.submit(1, *["x" * 60] * 3)
    rig.submit(2, "y" * 60, priority=-1)
    rig.host.step(with_stats=True)
    stats = rig.steps()[-1].stats
    assert stats is not None
    assert (stats.running, stats.waiting, stats.prompt_tokens) == (1, 1, 60)
    rig.host.receive(SetThreads(1, 3))
    assert rig.embedder.threads == 3
