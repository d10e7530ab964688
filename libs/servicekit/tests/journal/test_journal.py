"""Messages are stored once, worked on by one at a time, and end with an answer or where an operator looks."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from journal_office import LEASE, Office
from servicekit.journal.lane import LaneLost
from servicekit.journal.ledger import Ledger
from servicekit.journal.records import EntryState, PartState


async def test_a_message_that_comes_again_is_stored_once(office: Office) -> None:
    journal = office.journal()
    assert await journal.receive("m1", "chat", b"first")
    assert not await journal.receive("m1", "chat", b"again")
    assert not await office.journal("two").receive("m1", "another chat", b"again")
    held = await journal.claim()
    assert held is not None
    assert [(entry.key, entry.payload) for entry in await held.pending()] == [("m1", b"first")]
    assert await journal.claim() is None


async def test_what_is_closed_as_it_comes_is_recorded_once_and_nobody_works_on_it(office: Office) -> None:
    journal = office.journal()
    assert await journal.receive("m1", "chat", b"", closed="too many messages")
    assert not await journal.receive("m1", "chat", b"again")
    assert await journal.claim() is None
    backlog = await office.ledger.backlog()
    assert (backlog.pending, backlog.oldest, backlog.dead) == (0, None, 0)
    entry = await office.ledger.find(1)
    assert entry is not None
    assert (entry.state, entry.reason) == (EntryState.DONE, "too many messages")
    assert await office.ledger.clean(office.clock() + timedelta(seconds=1)) == 1


async def test_many_at_once_store_it_once(office: Office) -> None:
    stored = await asyncio.gather(
        *(office.journal(str(one)).receive("m1", f"chat {one % 2}", b"") for one in range(8))
    )
    assert sum(stored) == 1


async def test_a_lane_has_one_worker_and_keeps_its_order(office: Office) -> None:
    journal = office.journal()
    for key in ("m1", "m2", "m3"):
        await journal.receive(key, "chat", key.encode())
    held = await journal.claim()
    assert held is not None
    assert await office.journal("two").claim() is None
    order = []
    while (entry := await held.due()) is not None:
        order.append(entry.key)
        await held.finish(entry)
    assert order == ["m1", "m2", "m3"]
    assert await journal.claim() is None


async def test_several_lanes_are_worked_on_at_once_and_who_waits_longest_goes_first(office: Office) -> None:
    for key in ("b", "a", "c"):
        await office.journal().receive(key, f"lane {key}", b"")
    claims = [await office.journal().claim() for _ in range(3)]
    assert [held.name for held in claims if held is not None] == ["lane b", "lane a", "lane c"]


async def test_workers_that_claim_at_the_same_moment_get_different_lanes(office: Office) -> None:
    for number in range(6):
        await office.journal().receive(f"m{number}", f"lane {number % 4}", b"")
    claims = await asyncio.gather(*(office.journal(str(one)).claim() for one in range(8)))
    names = [held.name for held in claims if held is not None]
    assert len(names) == len(set(names))
    assert set(names) <= {f"lane {number}" for number in range(4)}


async def test_what_is_put_off_holds_up_its_lane_and_no_other(office: Office) -> None:
    held, entry = await office.claimed("m1")
    await office.journal().receive("m2", "chat", b"")
    await office.journal().receive("m3", "other", b"")
    await held.put_off(entry, office.clock.now + timedelta(seconds=60), "busy")
    assert await held.due() is None
    await held.release()
    other = await office.journal().claim()
    assert other is not None
    assert other.name == "other"
    assert await office.journal().claim() is None
    office.clock.turn(60)
    again = await office.journal().claim()
    assert again is not None
    assert [one.key for one in await again.pending()] == ["m1", "m2"]


async def test_a_message_may_wait_for_its_second_half(office: Office) -> None:
    await office.journal().receive("m1", "chat", b"", not_before=office.clock.now + timedelta(seconds=1))
    assert await office.journal().claim() is None
    office.clock.turn(1)
    assert await office.journal().claim() is not None


async def test_a_worker_that_is_gone_is_replaced_after_its_lease_and_can_do_no_harm(office: Office) -> None:
    held, entry = await office.claimed()
    part = await held.open_part(entry)
    office.clock.turn(LEASE - 1)
    assert await office.journal("two").claim() is None
    office.clock.turn(1)
    successor = await office.journal("two").claim()
    assert successor is not None
    for late in (
        held.renew(),
        held.begin(entry),
        held.put_off(entry, office.clock.now, ""),
        held.finish(entry),
        held.bury(entry, "slow"),
        held.open_part(entry, 1),
        held.answer(entry, [b"mine"]),
        held.sending(part),
        held.streaming(part, "77"),
        held.sent(part),
        held.unknown(part),
        held.heard(),
    ):
        with pytest.raises(LaneLost):
            await late
    await held.release()
    assert await office.journal("three").claim() is None
    assert (await successor.parts(entry)) == [part]


async def test_renewing_keeps_a_lane(office: Office) -> None:
    held, _ = await office.claimed()
    for _ in range(5):
        office.clock.turn(LEASE - 1)
        await held.renew()
        assert await office.journal("two").claim() is None


async def test_a_lane_that_is_let_go_is_taken_at_once_or_after_its_rest(office: Office) -> None:
    held, _ = await office.claimed()
    assert await office.journal().busy("chat")
    await held.release(pause=5)
    assert await office.journal("two").claim() is None
    office.clock.turn(5)
    held_again = await office.journal("two").claim()
    assert held_again is not None
    await held_again.release()
    assert not await office.journal().busy("chat")
    assert await office.journal().claim() is not None


async def test_attempts_are_counted_before_anything_is_tried(office: Office) -> None:
    held, entry = await office.claimed()
    assert [await held.begin(entry) for _ in range(3)] == [1, 2, 3]


async def test_a_signal_passes_everything_that_waits(office: Office) -> None:
    held, _ = await office.claimed()
    assert await held.renew() == ""
    assert await office.journal("two").signal("chat", "stop")
    assert await held.renew() == "stop"
    await held.heard()
    assert await held.renew() == ""
    assert not await office.journal().signal("no such chat", "stop")


async def test_an_answer_goes_out_part_by_part_and_then_the_entry_is_done(office: Office) -> None:
    held, entry = await office.claimed()
    first = await held.open_part(entry)
    assert first.state is PartState.OPEN
    first = await held.streaming(await held.sending(first), "100")
    parts = await held.answer(entry, [b"one", b"two"])
    assert [(part.number, part.content, part.external_id) for part in parts] == [
        (0, b"one", "100"),
        (1, b"two", ""),
    ]
    await held.sent(parts[0])
    with pytest.raises(ValueError, match="still to be sent"):
        await held.finish(entry)
    await held.sent(await held.sending(parts[1]), "101")
    await held.finish(entry)
    assert [(part.state, part.external_id) for part in await held.parts(entry)] == [
        (PartState.SENT, "100"),
        (PartState.SENT, "101"),
    ]
    found = await office.ledger.find(entry.id)
    assert found is not None
    assert found.state is EntryState.DONE
    assert await held.pending() == []


async def test_an_answer_that_is_stored_is_sent_by_whoever_comes_next(office: Office) -> None:
    held, entry = await office.claimed()
    await held.answer(entry, [b"text"])
    office.clock.turn(LEASE)
    successor = await office.journal("two").claim()
    assert successor is not None
    taken = await successor.due()
    assert taken is not None
    assert taken.state is EntryState.ANSWERED
    (part,) = await successor.parts(taken)
    assert (part.content, part.state, part.repeats) == (b"text", PartState.OPEN, 0)


async def test_a_call_that_was_cut_off_is_counted_when_it_is_made_again(office: Office) -> None:
    held, entry = await office.claimed()
    await held.sending(await held.open_part(entry))
    office.clock.turn(LEASE)
    successor = await office.journal("two").claim()
    assert successor is not None
    (cut_off,) = await successor.parts(entry)
    assert cut_off.state is PartState.SENDING
    again = await successor.sending(cut_off)
    assert again.repeats == 1
    assert (await office.ledger.backlog()).repeated_parts == 1


async def test_a_call_that_never_left_leaves_no_trace(office: Office) -> None:
    held, entry = await office.claimed()
    (part,) = await held.answer(entry, [b"text"])
    part = await held.unsent(await held.sending(part))
    assert (part.state, part.repeats) == (PartState.OPEN, 0)
    part = await held.sending(part)
    assert part.repeats == 0


async def test_what_nobody_can_read_is_dropped_and_counts_as_nothing(office: Office) -> None:
    held, entry = await office.claimed()
    (part,) = await held.answer(entry, [b"text"])
    await held.dropped(part)
    await held.finish(entry)
    backlog = await office.ledger.backlog()
    assert (backlog.pending, backlog.unsent_parts, backlog.unknown_parts) == (0, 0, 0)


@pytest.mark.parametrize("given_up", [False, True])
async def test_what_will_not_be_sent_is_dropped_as_its_entry_is_closed(
    office: Office, given_up: bool
) -> None:
    held, entry = await office.claimed()
    first, second = await held.answer(entry, [b"one", b"two"])
    close = held.bury if given_up else held.finish
    await held.sent(first, "1")
    await close(entry, "nobody there", dropped=[second])
    assert [part.state for part in await held.parts(entry)] == [PartState.SENT, PartState.DROPPED]
    assert (await office.ledger.backlog()).unsent_parts == 0


async def test_what_is_given_up_waits_for_the_operator_and_can_be_put_back(office: Office) -> None:
    held, entry = await office.claimed()
    await office.journal().receive("m2", "chat", b"")
    await held.begin(entry)
    await held.bury(entry, "unreadable")
    following = await held.due()
    assert following is not None
    assert following.key == "m2"
    (dead,) = await office.ledger.dead_letters()
    assert (dead.key, dead.reason, dead.state) == ("m1", "unreadable", EntryState.DEAD)
    assert await office.ledger.requeue(dead.id)
    assert not await office.ledger.requeue(dead.id)
    assert not await office.ledger.requeue(following.id)
    back = await held.due()
    assert back is not None
    assert (back.key, back.attempts, back.reason) == ("m1", 0, "")


async def test_the_backlog_tells_what_waits(office: Office) -> None:
    began = office.clock.now
    held, entry = await office.claimed()
    office.clock.turn(10)
    await office.journal().receive("m2", "other", b"")
    parts = await held.answer(entry, [b"a", b"b"])
    await held.unknown(await held.sending(parts[0]))
    backlog = await office.ledger.backlog()
    assert (backlog.pending, backlog.oldest, backlog.dead) == (2, began, 0)
    assert (backlog.unsent_parts, backlog.unknown_parts, backlog.repeated_parts) == (1, 1, 0)
    await held.bury(entry, "nobody there")
    # It keeps its answer, for whoever puts it back.
    backlog = await office.ledger.backlog()
    assert (backlog.dead, backlog.unsent_parts) == (1, 0)


async def test_what_is_over_is_deleted_after_a_while_and_the_dead_stay(office: Office) -> None:
    held, entry = await office.claimed()
    parts = await held.answer(entry, [b"a"])
    await held.sent(await held.sending(parts[0]))
    await held.finish(entry)
    await office.journal().receive("m2", "chat", b"")
    await office.journal().receive("m3", "chat", b"")
    dead = await held.due()
    assert dead is not None
    await held.bury(dead, "broken")
    office.clock.turn(3600)
    assert await office.ledger.clean(office.clock.now - timedelta(hours=2)) == 0
    assert await office.ledger.clean(office.clock.now) == 1
    assert await office.ledger.find(entry.id) is None
    assert await office.ledger.find(dead.id) is not None
    assert [one.key for one in await held.pending()] == ["m3"]


async def test_a_forgotten_lane_leaves_nothing_and_nobody_holds_its_successor(office: Office) -> None:
    held, entry = await office.claimed()
    await held.answer(entry, [b"secret"])
    await office.ledger.forget("chat")
    with pytest.raises(LaneLost):
        await held.renew()
    async with office.database.reading() as connection:
        for table in (office.tables.lanes, office.tables.entries, office.tables.parts):
            assert (await connection.execute(table.select())).first() is None
    office.clock.turn(0.001)
    successor, _ = await office.claimed("m2")
    with pytest.raises(LaneLost):
        await held.renew()
    await successor.renew()


async def test_what_is_answered_together_is_closed_with_the_answer(office: Office) -> None:
    held, entry = await office.claimed()
    await office.journal().receive("m2", "chat", b"the rest")
    (_, second) = await held.pending()
    await held.answer(entry, [b"both"], joined=[second])
    assert [one.id for one in await held.pending()] == [entry.id]
    joined = await office.ledger.find(second.id)
    assert joined is not None
    assert joined.state is EntryState.JOINED


async def test_what_was_noted_may_be_noted_again(office: Office) -> None:
    held, entry = await office.claimed()
    (part,) = await held.answer(entry, [b"text"])
    part = await held.sending(part)
    # As if the first note had been stored, and nobody had heard of it.
    assert await held.sent(part, "77") == await held.sent(part, "77")


async def test_an_attempt_is_forgiven_once_also_by_who_lost_the_lane(office: Office) -> None:
    held, entry = await office.claimed()
    assert [await held.begin(entry), await held.begin(entry)] == [1, 2]
    office.clock.turn(LEASE)
    other = await office.journal("two").claim()
    assert other is not None
    for expected in (1, 0, 0):
        await held.forgive(entry)
        found = await office.ledger.find(entry.id)
        assert found is not None
        assert found.attempts == expected
    assert await other.begin(entry) == 1


async def test_what_waits_for_a_limit_is_as_old_as_its_delay_and_what_waits_for_a_fault_as_its_message(
    office: Office,
) -> None:
    ledger = Ledger(office.database, office.tables, office.clock, limits=["too many"])
    came = office.clock()
    held, entry = await office.claimed("m1", "one who writes much")
    for key in ("m2", "m3"):
        await office.journal().receive(key, "one who writes much", b"")
    assert (await ledger.backlog()).oldest == came
    due = came + timedelta(hours=1)
    await held.put_off(entry, due, "too many")
    await held.release()
    backlog = await ledger.backlog()
    assert (backlog.pending, backlog.oldest) == (3, None)
    office.clock.turn(60)
    held, entry = await office.claimed("m4", "another")
    await held.put_off(entry, due, "the AI core is away")
    await held.release()
    assert (await ledger.backlog()).oldest == came + timedelta(minutes=1)
    await ledger.erase([entry])
    assert (await ledger.backlog()).oldest is None
    office.clock.turn(3_600)
    assert (await ledger.backlog()).oldest == due
