"""What is decided about remote servers, without any."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_core.engine_client.remote.breaker import FAILURES, PAUSES, Breaker
from ai_core.engine_client.remote.chunks import BrokeOff, ChunkReader
from ai_core.engine_client.remote.dialect import (
    LLAMA_SERVER,
    NEO,
    OLLAMA,
    OPENAI,
    OPENAI_ITSELF,
    VLLM,
    facts_of,
)
from ai_core.engine_client.remote.events import MAX_EVENT_BYTES, EventReader, EventTooLong
from ai_core.engine_client.remote.refusals import error_of
from ai_core.engine_client.remote.retrying import LONGEST_PAUSE, TRIES, pause_before_retry
from ai_core.engine_client.remote.upstream import MAX_KEY_BYTES, Upstream, headers_of
from ai_core.engine_client.remote.vectors import finished_of
from ai_core.engine_client.remote.wire import Nonsense
from ai_core.errors import DeadlineExceeded, InvalidRequest, NeoError, Overloaded, UpstreamUnavailable


class TestBreaker:
    def test_it_opens_after_failures_in_a_row_only(self) -> None:
        breaker = Breaker()
        for _ in range(3):
            for _ in range(FAILURES - 1):
                breaker.failed(0.0)
            assert breaker.admit(0.0)
            breaker.succeeded()
        for _ in range(FAILURES):
            breaker.failed(0.0)
        assert not breaker.admit(0.5)
        assert breaker.seconds_left(0.25) == PAUSES[0] - 0.25

    def test_one_tries_it_and_pauses_grow(self) -> None:
        breaker = Breaker()
        for _ in range(FAILURES):
            breaker.failed(0.0)
        now = 0.0
        for _ in range(10):
            now += breaker.seconds_left(now)
            assert breaker.admit(now)
            assert not breaker.admit(now)
            breaker.failed(now)
        assert breaker.seconds_left(now) == PAUSES[1]
        breaker.admit(now + PAUSES[1])
        breaker.succeeded()
        assert breaker.admit(now)
        assert not breaker.open

    def test_who_leaves_while_they_try_lets_the_next_one_try(self) -> None:
        breaker = Breaker()
        for _ in range(FAILURES):
            breaker.failed(0.0)
        assert breaker.admit(PAUSES[0])
        breaker.left()
        assert breaker.admit(PAUSES[0])

    def test_a_server_that_is_there_and_does_not_work_is_left_alone_for_longer(self) -> None:
        breaker = Breaker()
        for _ in range(FAILURES):
            breaker.failed(0.0)
        assert breaker.admit(PAUSES[0])
        breaker.answered_probe()
        assert not breaker.open
        breaker.failed(2.0)
        assert breaker.seconds_left(2.0) == 2 * PAUSES[0]

    @given(st.lists(st.tuples(st.sampled_from(["ask", "good", "bad", "left", "probe"]), st.floats(0, 100))))
    def test_it_is_never_closed_to_everybody_for_ever(self, events: list[tuple[str, float]]) -> None:
        breaker = Breaker()
        now, asking = 0.0, 0
        for what, later in events:
            now += later
            if what == "ask":
                asking += breaker.admit(now)
            elif asking:
                asking -= 1
                if what == "bad":
                    breaker.failed(now)
                else:
                    ends = {"good": breaker.succeeded, "left": breaker.left, "probe": breaker.answered_probe}
                    ends[what]()
        for _ in range(asking):
            breaker.left()
        assert breaker.seconds_left(now) <= PAUSES[1]
        assert breaker.admit(now + PAUSES[1])


AWAY = UpstreamUnavailable("away")


class TestRetrying:
    def test_a_server_that_is_away_is_asked_again_soon(self) -> None:
        assert pause_before_retry(AWAY, 1, shown=False, time_left=None) is not None

    @given(st.integers(1, 10), st.booleans(), st.none() | st.floats(-10, 100), st.none() | st.floats(0, 100))
    def test_never_after_text_nor_too_often_nor_too_late(
        self, tries: int, shown: bool, time_left: float | None, wished: float | None
    ) -> None:
        error = UpstreamUnavailable("away", retry_after=wished)
        pause = pause_before_retry(error, tries, shown=shown, time_left=time_left)
        if pause is not None:
            assert not shown
            assert tries < TRIES
            assert (wished or 0) <= pause <= LONGEST_PAUSE
            assert time_left is None or pause < time_left

    @pytest.mark.parametrize("error", [InvalidRequest("no"), Overloaded("busy"), DeadlineExceeded("late")])
    def test_what_would_be_the_same_again_is_not_tried(self, error: NeoError) -> None:
        assert pause_before_retry(error, 1, shown=False, time_left=None) is None


class TestEvents:
    @given(
        st.lists(st.text(st.characters(exclude_characters="\r\n", codec="utf-8")), max_size=8),
        st.sampled_from(["\n", "\r\n", "\r"]),
        st.lists(st.integers(0, 400)),
    )
    def test_however_the_bytes_are_cut_the_events_are_the_same(
        self, texts: list[str], newline: str, cuts: list[int]
    ) -> None:
        events = (f"event: x{newline}: comment{newline}data: {text}{newline}{newline}" for text in texts)
        whole = ("".join(events) + newline).encode()
        reader = EventReader()
        places = sorted({0, len(whole), *(min(cut, len(whole)) for cut in cuts)})
        pieces = [whole[begin:end] for begin, end in itertools.pairwise(places)]
        assert [data for piece in pieces for data in reader.feed(piece)] == texts

    def test_several_lines_are_one_text(self) -> None:
        assert EventReader().feed(b"data: a\ndata:b\n\n") == ["a\nb"]

    def test_an_event_without_end_is_given_up(self) -> None:
        reader = EventReader()
        for _ in range(MAX_EVENT_BYTES // 1_000_000):
            reader.feed(b"x" * 1_000_000)
        with pytest.raises(EventTooLong):
            reader.feed(b"x" * 1_000_000)


class TestChunks:
    def test_tokens_that_nobody_counts_are_counted_here(self) -> None:
        reader = ChunkReader(prompt_tokens=3, chat=True)
        for text in ("a", "b"):
            reader.feed(json.dumps({"choices": [{"delta": {"content": text}}]}))
        reader.feed(json.dumps({"choices": [{"delta": {}, "finish_reason": "eos"}]}))
        reader.at_end()
        finished = reader.finished(queue_seconds=0.5)
        assert (finished.prompt_tokens, finished.completion_tokens, finished.reason) == (3, 2, "stop")

    def test_calls_with_one_index_and_unlike_ids_are_two(self) -> None:
        reader = ChunkReader(prompt_tokens=0, chat=True)
        calls = []
        for name in ("f", "g"):
            call = {"index": 0, "id": f"call_{name}", "function": {"name": name, "arguments": "{}"}}
            delta = reader.feed(json.dumps({"choices": [{"delta": {"tool_calls": [call]}}]}))
            assert delta is not None
            calls += [(piece.index, piece.name) for piece in delta.calls]
        assert calls == [(0, "f"), (1, "g")]

    json_values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["choices", "delta", "content", "text", "tool_calls", "function", "name", "arguments",
                     "index", "usage", "error", "logprobs", "token", "logprob", "bytes", "finish_reason"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=20,
    )  # fmt: skip

    @given(st.lists(json_values, max_size=5), st.booleans())
    def test_whatever_comes_it_is_an_answer_or_an_error_with_a_name(
        self, values: list[Any], chat: bool
    ) -> None:
        reader = ChunkReader(prompt_tokens=1, chat=chat)
        try:
            for value in values:
                reader.feed(json.dumps(value))
            reader.at_end()
        except (Nonsense, BrokeOff):
            return
        assert reader.finished(queue_seconds=0.0).completion_tokens >= 0

    @pytest.mark.parametrize(
        "content",
        [
            b"[]",
            b"{",
            b'{"data": []}',
            b'{"data": [{"index": 0}]}',
            b'{"data": [{"index": 0, "embedding": [0, 0]}]}',
            b'{"data": [{"index": 0, "embedding": ["x"]}]}',
            b'{"data": [{"embedding": [1]}]}',
            b'{"data": [7]}',
        ],
    )
    def test_vectors_that_are_none_are_nonsense(self, content: bytes) -> None:
        with pytest.raises(Nonsense):
            finished_of(content, 1, 5)


class TestDialects:
    @pytest.mark.parametrize(
        ("owner", "dialect"),
        [
            ("vllm", VLLM),
            ("llamacpp", LLAMA_SERVER),
            ("library", OLLAMA),
            ("neo", NEO),
            ("openai", OPENAI_ITSELF),
            ("who knows", OPENAI),
            (None, OPENAI),
        ],
    )
    def test_a_server_is_known_by_the_owner_that_it_names(self, owner: object, dialect: object) -> None:
        assert facts_of({"data": [{"id": "m", "owned_by": owner}]}, "m").dialect is dialect
        assert facts_of({"data": [{"id": "other", "owned_by": owner}]}, "m").dialect is dialect

    @pytest.mark.parametrize(
        ("listed", "length"),
        [
            ({"max_model_len": 4096}, 4096),
            ({"meta": {"n_ctx": 2048}}, 2048),
            ({"max_model_len": True}, 0),
            ({"max_model_len": "many"}, 0),
            ({}, 0),
        ],
    )
    def test_its_context_is_what_it_says(self, listed: dict[str, object], length: int) -> None:
        assert facts_of({"data": [{"id": "m:latest", **listed}]}, "m").context_length == length

    @pytest.mark.parametrize("listing", [{}, {"data": 7}, {"data": [7]}, []])
    def test_of_servers_that_list_nothing_legible_nothing_is_known(self, listing: Any) -> None:
        assert facts_of(listing, "m").dialect is OPENAI


@given(st.integers(300, 599), st.binary(max_size=200), st.text(max_size=10))
def test_every_refusal_has_an_error_that_quotes_nothing_but_the_callers_fault(
    status: int, content: bytes, retry_after: str
) -> None:
    error = error_of("m", status, {"retry-after": retry_after}, content)
    assert "'m'" in error.message
    if status not in {400, 413, 422}:
        assert error_of("m", status, {"retry-after": retry_after}, b"").message == error.message
    assert error.retry_after is None or 1 <= error.retry_after <= 300


@pytest.mark.parametrize(
    "key", [b"", b"\n", b"two words", b"\xff", b"x" * (MAX_KEY_BYTES + 1), b"a\nb", None]
)
def test_a_key_that_no_header_can_hold_is_refused(tmp_path: Any, key: bytes | None) -> None:
    path = tmp_path / "key"
    if key is not None:
        path.write_bytes(key)
    with pytest.raises(UpstreamUnavailable, match="operator"):
        headers_of(Upstream("http://127.0.0.1:1/v1", "m", path))
