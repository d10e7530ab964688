"""Nothing is computed twice, and nobody notices but by the time it takes."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from ai_core.catalog.models import Catalog, ModelEntry
from ai_core.catalog.revision import Revision
from ai_core.engine.messages import ChatMessage, Sampling, Submit
from ai_core.errors import DeadlineExceeded, GenerationFailed, InvalidRequest, NeoError, Overloaded
from ai_core.inference.generation import Generation
from ai_core.inference.metrics import AnswerMetrics
from ai_core.inference.repetition import cache as cache_module
from ai_core.inference.repetition import source as source_module
from ai_core.inference.repetition.cache import ResponseCache
from ai_core.inference.repetition.metrics import RepetitionMetrics
from ai_core.inference.repetition.source import Repetition, SharingSource
from ai_core.inference.requests import CachePolicy, Completion, GenerationRequest, Origin
from ai_core.inference.service import Equipment, Inference, Limits
from ai_core.inference.sources import EngineSource, Query
from ai_core.inference.tickets import Tickets
from ai_core.storage.redis_connection import RedisConnection
from ai_core.storage.usage import Amount
from edge_server import FakeAnswer, FakeEngine
from ports import free_port
from servers import RedisServer
from servicekit.key_value.embedded import EmbeddedStore
from servicekit.key_value.port import KeyValueStore
from servicekit.key_value.redis_store import RedisStore
from servicekit.storage.sealing import PlainSeal, Seal, SecretSeal

LIMITS = Limits(max_sequences=1, max_queued=0, request_timeout=60, drain_timeout=30)
GREEDY = GenerationRequest(
    model=None,
    messages=[ChatMessage("user", "Qui es-tu ?")],
    sampling=Sampling(temperature=0),
    max_tokens=9,
    stop=[],
    key_id="key",
)
CHANCE = replace(GREEDY, sampling=Sampling(temperature=1))


@dataclass
class House:
    """Everything between a request and an engine that the test drives."""

    engine: FakeEngine
    inference: Inference
    registry: CollectorRegistry
    store: KeyValueStore
    noted: list[tuple[str, Amount]]
    """What keys are to answer for."""

    async def ask(self, request: GenerationRequest = GREEDY) -> Completion:
        async with self.inference.answer(request) as generation:
            return await generation.complete()

    async def ask_and_play(self, *texts: str, request: GenerationRequest = GREEDY) -> Completion:
        """An answer that the engine computes."""
        asked = asyncio.create_task(self.ask(request))
        (await self.engine.next_answer()).say(*texts).finish()
        return await asked

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0

    def outcomes(self) -> Counter[str]:
        names = ("hit", "joined", "miss", "bypass")
        counts = {n: self.metric("neo_response_cache_requests_total", model="m", outcome=n) for n in names}
        return Counter({name: int(count) for name, count in counts.items() if count})


@asynccontextmanager
async def house(
    store: KeyValueStore | None = None,
    *,
    script: Callable[[FakeAnswer], None] | None = None,
    seal: Seal = PlainSeal(),
    limits: Limits = LIMITS,
    **options: Any,
) -> AsyncIterator[House]:
    engine, registry = FakeEngine(script), CollectorRegistry()
    store = store or EmbeddedStore(1_000_000)
    entry = ModelEntry("m", Path("m.gguf"))
    repetition = Repetition(
        ResponseCache(store, seal, **({"ttl": 1000.0} | options)),
        {"m": Revision(entry.path)},
        RepetitionMetrics(registry),
    )
    noted: list[tuple[str, Amount]] = []
    equipment = Equipment(
        repetition=repetition, note_usage=lambda key_id, _, amount: noted.append((key_id, amount))
    )
    inference = Inference(Catalog([entry]), {"m": engine}, limits, AnswerMetrics(registry), equipment)
    yield House(engine, inference, registry, store, noted)
    await inference.close()


@dataclass
class Reader:
    """Somebody who reads an answer in a task of their own."""

    task: asyncio.Task[Completion]
    seen: list[str]
    generations: list[Generation]

    async def has_seen(self, *texts: str) -> None:
        while self.seen != list(texts):
            assert not self.task.done()
            await asyncio.sleep(0)

    async def has_entered(self) -> None:
        while not self.generations:
            assert not self.task.done()
            await asyncio.sleep(0)

    async def leave(self) -> None:
        self.task.cancel()
        await asyncio.wait({self.task})


async def landed() -> None:
    """What was just answered is not to be joined any more."""
    for _ in range(3):
        await asyncio.sleep(0)


def read(house: House, request: GenerationRequest = GREEDY) -> Reader:
    seen: list[str] = []
    generations: list[Generation] = []

    async def run() -> Completion:
        async with house.inference.answer(request) as generation:
            generations.append(generation)
            async for piece in generation:
                seen.append(piece.text)  # noqa: PERF401 - one after the other, as they come
            return await generation.complete()

    return Reader(asyncio.create_task(run()), seen, generations)


async def test_what_was_answered_once_is_not_computed_again() -> None:
    async with house() as h:
        first = await h.ask_and_play("Je ", "suis ", "Neo.")
        again = await h.ask()
        assert len(h.engine.requests) == 1
    assert (first.text, first.origin) == ("Je suis Neo.", Origin.COMPUTED)
    assert (again.text, again.origin) == ("Je suis Neo.", Origin.CACHED)
    assert again.finish_reason == first.finish_reason
    assert again.usage.total_tokens == first.usage.total_tokens
    assert again.usage.cached_prompt_tokens == again.usage.prompt_tokens


async def test_a_found_answer_streams_in_the_same_pieces() -> None:
    async with house() as h:
        await h.ask_and_play("Je ", "suis ", "Neo.")
        reader = read(h)
        await reader.task
        assert reader.seen == ["Je ", "suis ", "Neo."]


async def test_a_found_answer_needs_no_place() -> None:
    async with house() as h:
        await h.ask_and_play("found")
        busy = read(h, replace(GREEDY, max_tokens=8))
        await h.engine.next_answer()
        with pytest.raises(Overloaded):
            await h.ask(replace(GREEDY, max_tokens=7))
        assert (await h.ask()).text == "found"
        await busy.leave()


@pytest.mark.parametrize(
    "change",
    [
        {"messages": [ChatMessage("user", "Qui es-tu?")]},
        {"messages": [ChatMessage("system", "Sois bref."), *(GREEDY.messages or [])]},
        {"messages": None, "prompt": "Qui es-tu ?"},
        {"sampling": Sampling(temperature=0, top_p=0.5)},
        {"sampling": Sampling(temperature=0, logit_bias={1: 2.0})},
        {"sampling": Sampling(temperature=0, seed=1)},
        {"max_tokens": 10},
        {"stop": ["."]},
        {"logprobs": 2},
        {"key_id": "other"},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_whatever_differs_is_another_answer(change: dict[str, Any]) -> None:
    async with house() as h:
        await h.ask_and_play("one")
        assert (await h.ask_and_play("other", request=replace(GREEDY, **change))).text == "other"


async def test_who_asks_and_when_makes_no_other_answer() -> None:
    async with house() as h:
        await h.ask_and_play("one")
        assert (await h.ask(replace(GREEDY, user="somebody"))).origin is Origin.CACHED


async def test_only_deterministic_answers_are_kept_by_themselves() -> None:
    async with house() as h:
        seeded = replace(CHANCE, sampling=Sampling(temperature=1, seed=7))
        await h.ask_and_play("a", request=CHANCE)
        assert (await h.ask_and_play("b", request=CHANCE)).text == "b"
        await h.ask_and_play("c", request=seeded)
        assert (await h.ask(seeded)).text == "c"
        assert h.outcomes() == {"bypass": 2, "miss": 1, "hit": 1}


async def test_always_and_never_are_honoured() -> None:
    async with house() as h:
        never = replace(GREEDY, cache="never")
        always = replace(CHANCE, cache="always")
        await h.ask_and_play("a", request=never)
        assert (await h.ask_and_play("b")).text == "b"
        assert (await h.ask_and_play("c", request=never)).text == "c"
        assert (await h.ask()).text == "b"
        await h.ask_and_play("d", request=always)
        assert (await h.ask(always)).text == "d"


async def test_never_neither_joins_nor_leads() -> None:
    async with house(limits=replace(LIMITS, max_queued=3)) as h:
        readers = [read(h), read(h, replace(GREEDY, cache="never"))]
        answers = [await h.engine.next_answer(), await h.engine.next_answer()]
        for answer in answers:
            answer.say("x").finish()
        assert [(await reader.task).origin for reader in readers] == [Origin.COMPUTED] * 2


@pytest.mark.parametrize("shared", [False, True])
async def test_answers_belong_to_a_key_unless_they_are_shared(shared: bool) -> None:
    async with house(shared=shared) as h:
        await h.ask_and_play("one")
        other = replace(GREEDY, key_id="other")
        if shared:
            assert (await h.ask(other)).text == "one"
        else:
            assert (await h.ask_and_play("two", request=other)).text == "two"


async def test_nothing_is_kept_without_a_time_to_live_but_computations_are_shared() -> None:
    async with house(ttl=0.0) as h:
        readers = [read(h), read(h)]
        (await h.engine.next_answer()).say("one").finish()
        assert [(await reader.task).text for reader in readers] == ["one", "one"]
        await landed()
        assert (await h.ask_and_play("two")).text == "two"


async def test_an_answer_is_gone_when_its_time_is_over() -> None:
    now = 0.0
    async with house(EmbeddedStore(1_000_000, lambda: now), ttl=10.0) as h:
        await h.ask_and_play("one")
        await landed()
        now = 9.0
        assert (await h.ask()).text == "one"
        await landed()
        now = 10.0
        assert (await h.ask_and_play("two")).text == "two"


async def test_what_is_too_large_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "MAX_ENTRY_BYTES", 1000)
    async with house() as h:
        await h.ask_and_play("x" * 1001)
        assert (await h.ask_and_play("y")).text == "y"


async def test_text_is_stored_sealed_and_another_secret_finds_nothing() -> None:
    store = EmbeddedStore(1_000_000)
    async with house(store, seal=SecretSeal(b"one", "cache")) as h:
        await h.ask_and_play("a telling answer")
        assert (await h.ask()).origin is Origin.CACHED
    stored = [entry.value for entry in store._entries.values()]
    assert len(stored) == 1
    assert b"telling" not in stored[0]
    async with house(store, seal=SecretSeal(b"two", "cache")) as h:
        assert (await h.ask_and_play("b")).text == "b"


@pytest.mark.parametrize("damage", [lambda value: value[:-1], lambda _: b"", lambda _: b"\x00\xff"])
@pytest.mark.parametrize("seal", [PlainSeal(), SecretSeal(b"s", "cache")], ids=["plain", "secret"])
async def test_a_damaged_entry_is_a_miss(damage: Callable[[bytes], bytes], seal: Seal) -> None:
    class Damaging(EmbeddedStore):
        async def set(self, key: str, value: bytes, ttl: float) -> None:
            await super().set(key, damage(value), ttl)

    async with house(Damaging(1_000_000), seal=seal) as h:
        await h.ask_and_play("a", "b")
        assert (await h.ask_and_play("c")).text == "c"


async def test_fifty_at_once_cost_one_computation() -> None:
    async with house() as h:
        readers = [read(h) for _ in range(50)]
        answer = await h.engine.next_answer()
        for reader in readers:
            await reader.has_entered()
        answer.say("Je ", "suis ", "Neo.").finish()
        completions = [await reader.task for reader in readers]
        assert len(h.engine.requests) == 1
        assert {tuple(reader.seen) for reader in readers} == {("Je ", "suis ", "Neo.")}
        assert Counter(completion.origin for completion in completions) == {
            Origin.COMPUTED: 1,
            Origin.JOINED: 49,
        }
        assert h.outcomes() == {"miss": 1, "joined": 49}
        assert h.metric("neo_generated_tokens_total", model="m") == 3
        assert h.metric("neo_time_to_first_token_seconds_count", model="m") == 1
        assert h.metric("neo_inter_token_latency_seconds_count", model="m") == 2


async def test_who_comes_late_gets_the_text_so_far_at_once_and_then_the_rest() -> None:
    async with house() as h:
        first = read(h)
        answer = (await h.engine.next_answer()).say("a", "b")
        await first.has_seen("a", "b")
        late = read(h)
        await late.has_seen("a", "b")
        answer.say("c")
        await late.has_seen("a", "b", "c")
        answer.finish()
        assert (await late.task).text == (await first.task).text == "abc"


async def test_the_one_who_asked_first_leaves_and_the_others_notice_nothing() -> None:
    async with house() as h:
        first = read(h)
        answer = (await h.engine.next_answer()).say("a")
        await first.has_seen("a")
        other = read(h)
        await other.has_seen("a")
        await first.leave()
        answer.say("b").finish()
        assert (await other.task).text == "ab"
        assert (await h.ask()).origin is Origin.CACHED


async def test_somebody_answers_for_every_token_that_is_computed() -> None:
    """Otherwise two connections would be enough to pay for nothing: one asks, the other joins, the first
    leaves."""
    async with house(shared=True) as h:
        first, second, third = [read(h, replace(GREEDY, key_id=key)) for key in ("one", "two", "three")]
        answer = (await h.engine.next_answer()).say("a")
        for reader in (first, second, third):
            await reader.has_seen("a")
        await first.leave()
        answer.say("b")
        await third.has_seen("a", "b")
        await second.leave()
        answer.say("c").finish()
        await third.task
        await h.ask(replace(GREEDY, key_id="four"))
        tokens = {key_id: (amount.prompt_tokens, amount.completion_tokens) for key_id, amount in h.noted}
        assert tokens == {"one": (7, 1), "two": (7, 2), "three": (7, 3), "four": (0, 0)}
        assert [amount.cached_answers for _, amount in h.noted] == [0, 0, 0, 1]


async def test_who_does_not_read_answers_for_what_was_computed_all_the_same() -> None:
    async with house() as h, started(h):
        h.engine.answers[0].say("a", "b", "c").finish()
        await landed()
    assert [amount.completion_tokens for _, amount in h.noted] == [3]


@pytest.mark.parametrize("accepted", [True, False], ids=["while it is computed", "while it is loading"])
async def test_when_the_last_one_leaves_it_stops_and_is_not_kept(accepted: bool) -> None:
    async with house() as h:
        if not accepted:
            h.engine.accepting.clear()
        readers = [read(h), read(h)]
        answer = await h.engine.next_answer() if accepted else None
        if answer is None:
            await h.engine.arrived.wait()
        else:
            answer.say("a")
            await readers[1].has_seen("a")
        for reader in readers:
            await reader.leave()
        if answer is None:
            while not h.engine.given_up:  # noqa: ASYNC110
                await asyncio.sleep(0)
        else:
            await answer.cancelled.wait()
        h.engine.accepting.set()
        assert (await h.ask_and_play("new")).text == "new"


async def test_who_asks_just_when_the_last_one_leaves_gets_a_computation_of_their_own() -> None:
    async with house(limits=replace(LIMITS, max_queued=1)) as h:
        first = read(h)
        await h.engine.next_answer()
        await first.has_entered()
        first.task.cancel()
        second = read(h)
        (await h.engine.next_answer()).say("b").finish()
        assert (await second.task).text == "b"


async def test_a_failure_reaches_all_and_is_not_kept() -> None:
    async with house() as h:
        readers = [read(h) for _ in range(3)]
        answer = (await h.engine.next_answer()).say("a")
        answer.fail(GenerationFailed("It broke.", retry_after=3.0))
        for reader in readers:
            with pytest.raises(GenerationFailed, match="It broke") as caught:
                await reader.task
            assert caught.value.retry_after == 3.0
            assert reader.seen == ["a"]
        assert (await h.ask_and_play("b")).text == "b"


async def test_a_refusal_reaches_all_and_each_may_name_it_differently() -> None:
    async with house() as h:
        h.engine.refusal = InvalidRequest("Too long.", code="context_length_exceeded", parameter="messages")
        h.engine.accepting.clear()
        readers = [read(h) for _ in range(3)]
        await h.engine.arrived.wait()
        h.engine.accepting.set()
        errors: list[NeoError] = []
        for reader in readers:
            with pytest.raises(InvalidRequest, match="Too long") as caught:
                await reader.task
            errors.append(caught.value)
        assert len(h.engine.requests) == 1
        errors[0].parameter = "prompt"
        assert [(error.parameter, error.code) for error in errors[1:]] == [
            ("messages", "context_length_exceeded")
        ] * 2


async def test_an_answer_that_was_stopped_or_has_no_end_is_not_kept() -> None:
    async with house() as h:
        for stopped in (True, False):
            reader = read(h)
            answer = (await h.engine.next_answer()).say("half")
            if stopped:
                answer.finish("cancelled")
            else:
                answer.fail(GenerationFailed("It broke."))
            with pytest.raises(GenerationFailed):
                await reader.task
        assert (await h.ask_and_play("whole")).text == "whole"


async def test_a_follower_takes_no_place_but_there_is_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "MAX_SUBSCRIBERS", 5)
    async with house() as h:
        readers = [read(h) for _ in range(5)]
        answer = await h.engine.next_answer()
        for reader in readers:
            await reader.has_entered()
        with pytest.raises(Overloaded) as caught:
            await h.ask()
        assert caught.value.retry_after == 1.0
        await readers[0].leave()
        replacement = read(h)
        await replacement.has_entered()
        answer.say("a").finish()
        assert (await replacement.task).text == "a"


async def test_a_reader_who_is_slow_holds_up_nobody_and_misses_nothing() -> None:
    async with house() as h, AsyncExitStack() as stack:
        slow = await stack.enter_async_context(started(h))
        quick = read(h)
        texts = [f"{number} " for number in range(2000)]
        (await h.engine.next_answer()).say(*texts).finish()
        assert (await quick.task).text == "".join(texts)
        assert [piece.text async for piece in slow] == texts


@asynccontextmanager
async def started(h: House) -> AsyncIterator[Generation]:
    """An answer that is entered but not read."""
    waiting = asyncio.create_task(h.engine.next_answer())
    async with h.inference.answer(GREEDY) as generation:
        h.engine.answers.append(await waiting)
        yield generation


async def test_choices_of_chance_are_told_apart_and_those_of_one_seed_or_none_are_the_same() -> None:
    """Several choices of one request are asked for side by side."""
    async with sharing() as (source, engine):
        for sampling, computations in ((Sampling(temperature=1), 3), (Sampling(temperature=0), 1)):
            async with AsyncExitStack() as stack:
                answers = [
                    asyncio.create_task(
                        stack.enter_async_context(source.open(query(sampling, variant=n, cache="always")))
                    )
                    for n in range(3)
                ]
                await asyncio.gather(*answers)
                assert len(engine.answers) == computations
                engine.answers.clear()


async def test_each_has_a_deadline_of_their_own() -> None:
    """The first one's patience ends; those who have more get their answer."""
    async with sharing() as (source, engine):
        engine.accepting.clear()
        hurried = asyncio.create_task(first_text(source, query(timeout=0.05)))
        patient = asyncio.create_task(first_text(source, query(timeout=60)))
        joining = asyncio.create_task(first_text(source, query(timeout=0.05)))
        for one in (hurried, joining):
            with pytest.raises(DeadlineExceeded):
                await one
        engine.accepting.set()
        while not engine.answers:  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0)
        engine.answers[0].say("a").finish()
        assert await patient == "a"
        [request] = engine.requests
        # The engine must not give up on it with the one who asked first.
        assert request.timeout is not None
        assert request.timeout > 60


async def test_a_deadline_counts_until_the_computation_begins_and_no_longer() -> None:
    async with sharing() as (source, engine):
        waiting = asyncio.create_task(first_text(source, query(timeout=0.05)))
        (await engine.next_answer()).begin()
        await asyncio.sleep(0.1)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait({waiting})
        accepted_only = asyncio.create_task(first_text(source, query(timeout=0.05)))
        answer = await engine.next_answer()
        with pytest.raises(DeadlineExceeded):
            await accepted_only
        await answer.cancelled.wait()


async def test_who_is_urgent_does_not_wait_for_who_is_not() -> None:
    async with sharing(places=2) as (source, engine):
        relaxed = asyncio.create_task(first_text(source, query(priority=-1)))
        urgent = asyncio.create_task(first_text(source, query(priority=1)))
        answers = [await engine.next_answer(), await engine.next_answer()]
        urgent_answer = next(answer for answer in answers if answer.request.priority == 1)
        urgent_answer.say("now").finish()
        assert await urgent == "now"
        assert not relaxed.done()
        relaxed.cancel()
        await asyncio.wait({relaxed})


def query(
    sampling: Sampling = Sampling(temperature=0),
    timeout: float = 60,
    priority: int = 0,
    variant: int = 0,
    cache: CachePolicy = "auto",
) -> Query:
    submit = Submit(id=0, prompt="x", sampling=sampling, timeout=timeout, priority=priority)
    return Query(submit=submit, variant=variant, cache=cache)


async def first_text(source: SharingSource, wanted: Query) -> str:
    async with source.open(wanted) as answer:
        async for event in answer:
            return event.text
    raise AssertionError("no event")


@asynccontextmanager
async def sharing(places: int = 1) -> AsyncIterator[tuple[SharingSource, FakeEngine]]:
    engine, registry = FakeEngine(), CollectorRegistry()
    computing = EngineSource(engine, Tickets(places, 4), AnswerMetrics(registry).of("m"), time.monotonic)
    repetition = Repetition(
        ResponseCache(EmbeddedStore(1_000_000), PlainSeal(), ttl=1000.0),
        {"m": Revision(Path("m.gguf"))},
        RepetitionMetrics(registry),
    )
    source = repetition.in_front_of(computing, engine, "m")
    yield source, engine
    await source.close()


async def test_without_its_store_the_cache_is_passed_by_and_counted() -> None:
    connection = RedisConnection(f"redis://127.0.0.1:{free_port()}/0")
    store = RedisStore(connection)
    async with house(store) as h:
        for text in ("a", "b"):
            assert (await h.ask_and_play(text)).text == text
        readers = [read(h), read(h)]
        (await h.engine.next_answer()).say("c").finish()
        assert [(await reader.task).text for reader in readers] == ["c", "c"]
        await h.inference.close()
        for operation in ("read", "write"):
            assert h.metric("neo_response_cache_store_failures_total", operation=operation) == 3
    await store.close()
    await connection.close()


async def test_a_store_that_goes_and_comes_back_while_many_ask_gives_nobody_a_wrong_answer(
    redis_server: RedisServer,
) -> None:
    connection = RedisConnection(redis_server.url)
    over = asyncio.Event()

    async def ask_on(h: House, number: int) -> None:
        while not over.is_set():
            text = f"question {number % 7}"
            completion = await h.ask(replace(GREEDY, messages=[ChatMessage("user", text)]))
            assert completion.text == text
            await asyncio.sleep(0.001)

    def answer_itself(answer: FakeAnswer) -> None:
        assert answer.request.messages is not None
        answer.say(answer.request.messages[-1].content).finish()

    async def until(h: House, outcome: str) -> None:
        before = h.outcomes()[outcome]
        while h.outcomes()[outcome] == before:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    limits = replace(LIMITS, max_sequences=30)
    store = RedisStore(connection)
    async with house(store, script=answer_itself, limits=limits) as h:
        async with asyncio.timeout(60), asyncio.TaskGroup() as askers:
            for number in range(20):
                askers.create_task(ask_on(h, number))
            for stop in (redis_server.stop, redis_server.kill):
                await until(h, "hit")
                await asyncio.to_thread(stop)
                await until(h, "miss")
                await asyncio.to_thread(redis_server.start)
                async with asyncio.timeout(5):
                    await until(h, "hit")
            redis_server.pause()
            await until(h, "miss")
            redis_server.resume()
            async with asyncio.timeout(5):
                await until(h, "hit")
            over.set()
        assert h.metric("neo_response_cache_store_failures_total", operation="read") > 0
    await store.close()
    await connection.close()


Schedule = st.lists(st.sampled_from(["join", "leave", "say", "read"]), max_size=40)


@given(Schedule, st.integers(0, 5))
def test_whoever_stays_gets_every_piece_once_and_in_order(schedule: list[str], leaving: int) -> None:
    asyncio.run(_follow(schedule, leaving))


async def _follow(schedule: list[str], leaving: int) -> None:
    async with house() as h:
        first = read(h)
        answer = await h.engine.next_answer()
        readers, said = [first], 0
        for action in schedule:
            if action == "join":
                readers.append(read(h))
                await readers[-1].has_entered()
            elif action == "leave" and len(readers) > 1:
                await readers.pop(leaving % len(readers)).leave()
            elif action == "say":
                answer.say(f"{said} ")
                said += 1
            elif action == "read":
                await asyncio.sleep(0)
        answer.finish()
        whole = [f"{number} " for number in range(said)]
        for reader in readers:
            assert (await reader.task).text == "".join(whole)
            assert reader.seen == whole
        assert len(h.engine.requests) == 1
