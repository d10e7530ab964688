"""The backend without a model: predictable, and strict with whoever drives it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_core.engine.backends.port import Backend, Sequence, Vocabulary
from ai_core.engine.backends.scripted import load
from ai_core.engine.messages import EngineConfig, Sampling

CONFIG = EngineConfig(backend="scripted", model_path="", max_sequences=2, context_length=100)


@pytest.fixture
def backend() -> Backend:
    return load(CONFIG)[0]


VOCABULARY: Vocabulary = load(CONFIG)[1]


def sequence(text: str, id: int = 1, max_tokens: int = 100, sampling: Sampling = Sampling()) -> Sequence:
    tokens = VOCABULARY.encode(text, add_bos=True, parse_special=True)
    return Sequence(id, np.array(tokens, dtype=np.int32), sampling, max_tokens)


def run(backend: Backend) -> tuple[bytes, str]:
    """The answer to the only sequence, and how it ended."""
    answer = b""
    while True:
        result = backend.step()
        assert len(result.tokens) <= 1
        answer += b"".join(VOCABULARY.piece(token) for _, token in result.tokens)
        if result.finished or result.failed:
            return answer, (result.finished or result.failed)[0][1]


@given(st.text(max_size=200))
def test_text_survives_the_vocabulary(text: str) -> None:
    tokens = VOCABULARY.encode(text, add_bos=False, parse_special=False)
    assert b"".join(map(VOCABULARY.piece, tokens)) == text.encode()


def test_control_tokens_are_tokens_only_where_they_may_be() -> None:
    assert len(VOCABULARY.encode("<|im_end|>", add_bos=False, parse_special=True)) == 1
    assert len(VOCABULARY.encode("<|im_end|>", add_bos=False, parse_special=False)) == 10
    assert VOCABULARY.control_texts == {"<|im_start|>", "<|im_end|>"}


def test_the_last_thing_that_the_user_said_is_given_back(backend: Backend) -> None:
    backend.submit(
        sequence("<|im_start|>user\nno<|im_end|>\n<|im_start|>user\nété<|im_end|>\n<|im_start|>assistant\n")
    )
    assert run(backend) == ("été".encode(), "stop")


def test_a_raw_prompt_is_given_back_whole(backend: Backend) -> None:
    backend.submit(sequence("Once upon"))
    assert run(backend) == (b"Once upon", "stop")


def test_an_answer_of_any_length_can_be_asked_for(backend: Backend) -> None:
    backend.submit(sequence("[[20]]"))
    assert run(backend) == (b"Le contrat de travai", "stop")


@pytest.mark.parametrize(("max_tokens", "length"), [(3, 3), (100, 90)])
def test_an_answer_ends_at_max_tokens_and_at_the_end_of_the_context(
    backend: Backend, max_tokens: int, length: int
) -> None:
    backend.submit(sequence("[[500]]   ", max_tokens=max_tokens))
    answer, reason = run(backend)
    assert (len(answer), reason) == (length, "length")


def test_an_answer_that_may_not_end_by_itself_goes_on_to_max_tokens(backend: Backend) -> None:
    backend.submit(sequence("Oui", max_tokens=50, sampling=Sampling(ignore_eos=True)))
    answer, reason = run(backend)
    assert (len(answer), reason) == (50, "length")


def test_a_failing_sequence_fails_alone(backend: Backend) -> None:
    backend.submit(sequence("[[fail]][[after 2]]"))
    assert run(backend)[0] == b"[["
    backend.submit(sequence("[[raise]]"))
    with pytest.raises(RuntimeError):
        backend.step()


def test_cancelling_frees_a_sequence(backend: Backend) -> None:
    backend.submit(sequence("a", id=1))
    backend.submit(sequence("b", id=2))
    assert backend.stats().free_sequences == 0
    backend.cancel(1)
    backend.cancel(77)
    assert backend.stats().free_sequences == 1
    assert [number for number, _ in backend.step().tokens] == [2]


def test_a_driver_that_breaks_the_contract_is_told(backend: Backend) -> None:
    backend.submit(sequence("a"))
    wrong = [
        sequence("again"),
        sequence("", id=2),
        sequence("x" * 100, id=2),
        sequence("x", id=2, max_tokens=0),
        Sequence(2, np.array([300], dtype=np.int32), Sampling(), 1),
        Sequence(2, np.array([1.0]), Sampling(), 1),
    ]
    for one in wrong:
        with pytest.raises(AssertionError, match="misused"):
            backend.submit(one)
    backend.submit(sequence("b", id=2))
    with pytest.raises(AssertionError, match="no free sequence"):
        backend.submit(sequence("c", id=3))


def test_no_call_may_follow_the_close(backend: Backend) -> None:
    backend.close()
    with pytest.raises(AssertionError, match="after close"):
        backend.step()
