"""One connection to one engine: who gets what, and when the engine is told to stop."""

from __future__ import annotations

import asyncio
from typing import Any, Literal, cast

import pytest

from ai_core.engine.messages import (
    FRAME_HEADER,
    Accepted,
    Cancel,
    Delta,
    Failed,
    Finished,
    Heartbeat,
    Loading,
    Read,
    Ready,
    Refused,
    Sampling,
    SetThreads,
    Shutdown,
    Stats,
    Step,
    Submit,
)
from ai_core.engine_client.answer import EngineLost, SocketAnswer
from ai_core.engine_client.outbox import HIGH_WATER_BYTES
from ai_core.engine_client.port import Engine
from ai_core.engine_client.socket_engine import SocketEngine
from ai_core.errors import (
    DeadlineExceeded,
    EngineUnavailable,
    GenerationFailed,
    InvalidRequest,
    NeoError,
    Overloaded,
)

Peer = Any

READY = Ready(
    backend="b",
    description="d",
    context_length=8,
    kv_cells=8,
    max_sequences=1,
    vocabulary=9,
    parameters=0,
    has_chat_template=False,
    prefix="none",
    load_seconds=0.0,
    weights_bytes=0,
)


def finished(request_id: int, reason: Literal["stop", "cancelled"] = "stop") -> Finished:
    return Finished(request_id, reason, "", 1, 1, 0, 0.0, 0.0)


async def begin(engine: SocketEngine, peer: Peer, prompt: str = "Bonjour") -> tuple[SocketAnswer, int]:
    """An accepted request, and the number that the engine knows it by."""
    submitting = asyncio.create_task(engine.submit(Submit(id=0, prompt=prompt)))
    submit = cast(Submit, await peer.hear())
    assert submit.prompt == prompt
    await peer.say(Accepted(submit.id, 7))
    return await submitting, submit.id


async def cancels_before(peer: Peer, engine: SocketEngine) -> list[int]:
    """The requests that the engine was told to drop, up to now."""
    await engine.set_threads(1, 1)
    ids: list[int] = []
    while isinstance(message := await peer.hear(), Cancel):
        ids.append(message.id)
    assert message == SetThreads(1, 1)
    return ids


async def test_an_answer_is_its_deltas_and_then_its_end(engine: SocketEngine, peer: Peer) -> None:
    port: Engine = engine
    answer, number = await begin(engine, peer)
    assert answer.prompt_tokens == 7
    await peer.say(
        Step(started=[number]),
        Step(deltas=[Delta(number, "a", 1)]),
        Step(deltas=[Delta(number, "b", 1)], finished=[finished(number)], stats=Stats(steps=2)),
    )
    assert [event.text async for event in answer] == ["a", "b", ""]
    assert port.stats == Stats(steps=2)


async def test_two_answers_do_not_mix(engine: SocketEngine, peer: Peer) -> None:
    (one, first), (two, second) = await begin(engine, peer, "1"), await begin(engine, peer, "2")
    await peer.say(
        Step(deltas=[Delta(second, "B", 1), Delta(first, "A", 1)]),
        Step(finished=[finished(first), finished(second)]),
    )
    assert [event.text async for event in one] == ["A", ""]
    assert [event.text async for event in two] == ["B", ""]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("context_length_exceeded", InvalidRequest),
        ("template_error", InvalidRequest),
        ("queue_full", Overloaded),
    ],
)
async def test_a_refusal_says_what_is_wrong(
    engine: SocketEngine, peer: Peer, code: Any, expected: type[NeoError]
) -> None:
    submitting = asyncio.create_task(engine.submit(Submit(id=0, prompt="x")))
    number = (await peer.hear()).id
    await peer.say(Refused(id=number, code=code, parameter="messages", message="too much"))
    with pytest.raises(expected, match="too much") as refusal:
        await submitting
    if expected is InvalidRequest:
        assert (refusal.value.code, refusal.value.parameter) == (code, "messages")
    else:
        assert refusal.value.retry_after == 1.0


@pytest.mark.parametrize(
    ("code", "expected"),
    [("timeout", DeadlineExceeded), ("decode_error", GenerationFailed), ("shutting_down", EngineUnavailable)],
)
async def test_a_failure_ends_one_answer(
    engine: SocketEngine, peer: Peer, code: Any, expected: type[NeoError]
) -> None:
    (failing, first), (fine, second) = await begin(engine, peer), await begin(engine, peer)
    await peer.say(Step(failed=[Failed(first, code, "why")], finished=[finished(second)]))
    with pytest.raises(expected, match="why"):
        await anext(failing)
    assert await anext(fine) == finished(second)


async def test_a_reader_too_slow_is_cancelled_and_disturbs_nobody(engine: SocketEngine, peer: Peer) -> None:
    (slow, first), (other, second) = await begin(engine, peer), await begin(engine, peer)
    for _ in range(600):
        await peer.say(Step(deltas=[Delta(first, "x", 1)]))
    await peer.say(Step(deltas=[Delta(second, "y", 1)]))
    assert (await anext(other)).text == "y"
    with pytest.raises(GenerationFailed) as failure:
        await anext(slow)
    assert failure.value.code == "slow_reader"
    assert await cancels_before(peer, engine) == [first]
    await peer.say(Step(finished=[finished(first, "cancelled")]))


async def test_a_reader_who_reads_is_never_too_slow_for_an_engine_at_full_speed(
    engine: SocketEngine, peer: Peer
) -> None:
    answer, number = await begin(engine, peer)
    steps = [Step(deltas=[Delta(number, "x", 1)]) for _ in range(20_000)]
    saying = asyncio.create_task(peer.say(*steps, Step(finished=[finished(number)])))
    assert len("".join([event.text async for event in answer])) == 20_000
    await saying


async def test_the_engine_is_told_once_that_a_caller_left(engine: SocketEngine, peer: Peer) -> None:
    answer, number = await begin(engine, peer)
    answer.cancel()
    answer.cancel()
    assert await cancels_before(peer, engine) == [number]
    del answer
    await asyncio.sleep(0)
    assert await cancels_before(peer, engine) == []


async def test_an_answer_that_nobody_holds_any_more_is_cancelled(engine: SocketEngine, peer: Peer) -> None:
    answer, number = await begin(engine, peer)
    del answer
    assert await peer.hear() == Cancel(number)


async def test_an_answer_that_ended_is_not_cancelled(engine: SocketEngine, peer: Peer) -> None:
    answer, number = await begin(engine, peer)
    await peer.say(Step(finished=[finished(number)]))
    assert [event async for event in answer] == [finished(number)]
    answer.cancel()
    del answer
    await asyncio.sleep(0)
    assert await cancels_before(peer, engine) == []


async def test_a_caller_who_leaves_before_the_engine_accepted_is_told_to_the_engine(
    engine: SocketEngine, peer: Peer
) -> None:
    submitting = asyncio.create_task(engine.submit(Submit(id=0, prompt="x")))
    number = (await peer.hear()).id
    submitting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await submitting
    assert await cancels_before(peer, engine) == [number]
    await peer.say(
        Accepted(number, 1), Step(finished=[finished(number, "cancelled")]), Heartbeat(Stats(steps=1))
    )
    while engine.stats.steps == 0:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert engine.in_flight() == []


async def test_what_was_said_before_the_end_is_still_delivered(engine: SocketEngine, peer: Peer) -> None:
    (done, first), (torn, second) = await begin(engine, peer), await begin(engine, peer)
    await peer.say(Step(deltas=[Delta(first, "a", 1), Delta(second, "b", 1)], finished=[finished(first)]))
    # Something unread at the other end makes this a reset, and what we write now fails.
    await engine.set_threads(1, 1)
    peer.hang_up()
    await engine.set_threads(2, 2)
    assert [event.text async for event in done] == ["a", ""]
    assert (await anext(torn)).text == "b"
    with pytest.raises(EngineLost) as lost:
        await anext(torn)
    assert (lost.value.started, lost.value.shown) == (True, True)


async def test_a_lost_request_knows_how_far_it_had_come(engine: SocketEngine, peer: Peer) -> None:
    (waiting, _), (silent, second) = await begin(engine, peer), await begin(engine, peer)
    submitting = asyncio.create_task(engine.submit(Submit(id=0, prompt="x")))
    await peer.hear()
    await peer.say(Step(started=[second]), Step(deltas=[Delta(second, "", 1)]))
    peer.hang_up()
    states = []
    for event in (anext(waiting), anext(silent), submitting):
        with pytest.raises(EngineLost) as lost:
            await event
        states.append((lost.value.started, lost.value.shown))
    assert states == [(False, False), (True, False), (False, False)]
    with pytest.raises(EngineLost):
        await engine.submit(Submit(id=0, prompt="x"))


async def test_suspects_are_the_one_being_read_and_the_one_whose_grammar_is_compiled(
    engine: SocketEngine, peer: Peer
) -> None:
    await peer.say(READY)
    await begin(engine, peer)
    submitting = [asyncio.create_task(engine.submit(Submit(id=0, prompt="x"))) for _ in range(4)]
    numbers = [
        message.id for message in [await peer.hear() for _ in submitting] if isinstance(message, Submit)
    ]
    await peer.say(Read(numbers[0]), Read(numbers[1]))
    peer.hang_up()
    lost = await asyncio.gather(*submitting, return_exceptions=True)
    assert [one.being_read for one in lost if isinstance(one, EngineLost)] == [True, False, True, False]


async def test_nonsense_on_the_wire_is_the_end(engine: SocketEngine, peer: Peer) -> None:
    answer, _ = await begin(engine, peer)
    await asyncio.get_running_loop().sock_sendall(peer.connection, FRAME_HEADER.pack(1) + b"\xc1")
    with pytest.raises(EngineLost):
        await anext(answer)
    assert engine.lost.done()
    assert engine.wire_error is not None


async def test_requests_wait_while_the_engine_reads_nothing_and_arrive_whole_and_in_order(
    engine: SocketEngine, peer: Peer
) -> None:
    prompts = [str(number) * HIGH_WATER_BYTES for number in range(4)]
    submitting = [asyncio.create_task(engine.submit(Submit(id=0, prompt=prompt))) for prompt in prompts]
    heard = []
    for _ in prompts:
        submit = await peer.hear()
        heard.append(submit.prompt)
        await peer.say(Accepted(submit.id, 1))
    assert sorted(heard) == prompts
    await asyncio.gather(*submitting)


async def test_a_request_that_waits_for_room_learns_of_the_end(engine: SocketEngine, peer: Peer) -> None:
    prompts = [str(number) * 2 * HIGH_WATER_BYTES for number in range(3)]
    submitting = [asyncio.create_task(engine.submit(Submit(id=0, prompt=prompt))) for prompt in prompts]
    await asyncio.sleep(0)
    peer.hang_up()
    outcomes = await asyncio.gather(*submitting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [EngineLost] * 3


@pytest.mark.parametrize(
    "request_",
    [
        Submit(id=0, prompt="half a pair: \ud83d"),
        Submit(id=0, prompt="x", sampling=Sampling(seed=2**70)),
        Submit(id=0, prompt="x" * (64 * 1024 * 1024)),
    ],
    ids=["surrogate", "seed", "size"],
)
async def test_what_cannot_travel_is_refused_and_harms_nobody(
    engine: SocketEngine, peer: Peer, request_: Submit
) -> None:
    with pytest.raises(InvalidRequest):
        await engine.submit(request_)
    await begin(engine, peer)


async def test_loading_is_followed(engine: SocketEngine, peer: Peer) -> None:
    await peer.say(Loading(0.5), READY)
    assert await engine.loaded == READY
    assert engine.ready == READY
    assert engine.load_progress == 1.0


async def test_closing_tells_the_engine_to_end(engine: SocketEngine, peer: Peer) -> None:
    answer, _ = await begin(engine, peer)
    await engine.close()
    assert await peer.hear() == Shutdown()
    with pytest.raises(EngineUnavailable):
        await anext(answer)
