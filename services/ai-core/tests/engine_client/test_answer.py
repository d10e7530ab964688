"""What a reader gets of an answer, whatever the steps in which it came."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from ai_core.engine.messages import Delta, Finished, Submit
from ai_core.engine_client.answer import InFlight, SocketAnswer

FINISHED = Finished(1, "stop", "!", 1, 1, 0, 0.0, 0.0)


async def read(texts: list[str], *, before: int) -> tuple[list[Delta | Finished], InFlight]:
    """Deliver ``texts``, the first ``before`` of them before the reader comes."""
    in_flight = InFlight(Submit(id=1, prompt="x"), send_cancel=lambda _: None)
    for text in texts[:before]:
        in_flight.deliver(Delta(1, text, 1))
    answer = SocketAnswer(in_flight, 1)

    async def all_events() -> list[Delta | Finished]:
        return [event async for event in answer]

    reading = asyncio.create_task(all_events())
    for text in texts[before:]:
        in_flight.deliver(Delta(1, text, 1))
        await asyncio.sleep(0)
    in_flight.finish(FINISHED)
    return await reading, in_flight


@given(st.lists(st.sampled_from(["", "a", "é", "🙂"]), max_size=30), st.integers(0, 30))
def test_all_text_comes_once_and_in_order_and_no_piece_is_empty(texts: list[str], before: int) -> None:
    events, _ = asyncio.run(read(texts, before=before))
    assert events[-1] == FINISHED
    deltas = [event for event in events[:-1] if isinstance(event, Delta)]
    assert len(deltas) == len(events) - 1
    assert [delta.text for delta in deltas] == [text for text in texts if text]


@given(st.lists(st.sampled_from(["", "a"]), max_size=30), st.integers(0, 30))
def test_tokens_that_bring_no_text_are_counted_with_the_next_text(texts: list[str], before: int) -> None:
    events, in_flight = asyncio.run(read(texts, before=before))
    counted = sum(event.tokens for event in events if isinstance(event, Delta))
    up_to_the_last_text = max((place for place, text in enumerate(texts, start=1) if text), default=0)
    assert counted == up_to_the_last_text
    assert in_flight.shown == any(texts)
