"""What exceeds an hourly limit waits, is answered in a later hour, and its sender hears of it once."""

from __future__ import annotations

from datetime import timedelta
from email.message import EmailMessage

from mail_core import scripted_core
from mail_servers import somebody
from running_service import PostOffice, RunningService, question
from turned_clock import TurnedClock

HOUR = timedelta(minutes=61)


def is_note(mail: EmailMessage) -> bool:
    body = mail.get_body(("plain",))
    assert body is not None
    return "un peu plus tard" in body.get_content()


async def pending(running: RunningService, count: int) -> None:
    """So many wait for their hour, and nothing else is under way: no note either."""
    await running.until_waiting(count)
    await running.until_pending(count)


async def test_what_exceeds_the_limit_of_all_is_answered_hour_by_hour(
    post_office: PostOffice, clock: TurnedClock
) -> None:
    people = [somebody() for _ in range(3)]
    limits = {"MAX_EMAILS_PER_HOUR": 1, "WORKERS": 1}
    async with scripted_core() as core, post_office.service(core.url, **limits) as running:
        for person in people:
            post_office.send(question(person, post_office.address), person)
        await running.arrived(3)
        await pending(running, 2)
        assert len(core.asked) == 1
        for answered in (2, 3):
            clock.ahead += HOUR
            await pending(running, 3 - answered)
            assert len(core.asked) == answered
    boxes = [post_office.inbox(person) for person in people]
    assert sorted(sum(map(is_note, box)) for box in boxes) == [0, 1, 1]
    assert all(len(box) - sum(map(is_note, box)) == 1 for box in boxes)


async def test_who_writes_more_than_is_answered_is_no_fault_of_ours(
    post_office: PostOffice, clock: TurnedClock
) -> None:
    anne = somebody()
    limits = {"MAX_SENDER_EMAILS_PER_HOUR": 1, "WORKERS": 1}
    async with scripted_core() as core, post_office.service(core.url, **limits) as running:
        for text in ("Combien de jours de congé ?", "Et le préavis ?", "Et le SMIC ?"):
            post_office.send(question(anne, post_office.address, text), anne)
        await running.arrived(3)
        await pending(running, 2)
        # A little less than the hour.
        clock.ahead += timedelta(minutes=50)
        assert (await running.get("/health")).json()["parts"]["queue"]["status"] == "ok"
        page = (await running.get("/metrics")).text.splitlines()
    assert "neo_mail_queue_length 2.0" in page
    assert "neo_mail_queue_age_seconds 0.0" in page


async def test_mails_that_others_got_too_have_a_limit_of_their_own(
    post_office: PostOffice, clock: TurnedClock
) -> None:
    anne, bob, carl = somebody(), somebody(), somebody()
    to_all = f"{bob}, {post_office.address}"
    limits = {"MAX_SHARED_EMAILS_PER_HOUR": 1, "WORKERS": 1}
    async with scripted_core() as core, post_office.service(core.url, **limits) as running:
        for mail in (
            question(anne, to_all, "Combien de jours de congé ?", Cc=carl),
            question(anne, bob, "Et le préavis de démission ?", Cc=f"Neo <{post_office.address}>"),
            question(anne, post_office.address, "Le SMIC est à combien ?"),
        ):
            post_office.send(mail, anne)
            await running.arrived(1)
        await running.arrived(3)
        await pending(running, 1)
        asked = "\n".join(map(core.mail, range(2)))
        assert len(core.asked) == 2
        assert "SMIC" in asked
        clock.ahead += HOUR
        await running.settled()
        assert len(core.asked) == 3
    found = post_office.inbox(anne)
    assert [is_note(mail) for mail in found].count(False) == 3
    assert len(found) == 4
    assert all([one.addr_spec for one in mail["To"].addresses] == [anne] for mail in found)
    assert all(mail["Cc"] is None for mail in found)
    assert post_office.inbox(bob) == post_office.inbox(carl) == []


async def test_of_those_that_wait_for_the_next_place_the_urgent_wake_first(
    post_office: PostOffice, clock: TurnedClock
) -> None:
    limits = {"MAX_EMAILS_PER_HOUR": 1, "WORKERS": 1}
    async with scripted_core() as core, post_office.service(core.url, **limits) as running:
        for number, priority in enumerate(("", "", "1"), start=1):
            person = somebody()
            mail = question(person, post_office.address, f"Question {number} ?", X_Priority=priority)
            post_office.send(mail, person)
            await running.arrived(number)
            await running.until_waiting(number - 1)
        await pending(running, 2)
        ordinary, urgent = await running.service.office.queue()
        assert urgent["entry_id"] > ordinary["entry_id"]
        assert urgent["due_at"] < ordinary["due_at"]
        clock.stands_at = urgent["due_at"]
        await pending(running, 1)
        assert "Question 3" in core.mail()
