"""Under load the service takes away comfort, in steps, and gives it back; its pages tell so."""

from __future__ import annotations

import asyncio
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from scripted_core import Answers, ScriptedCore, scripted_core
from telegram_house import Guest, House, open_house
from telegram_service.dialogue.settings import MAX_TOKENS, Length

SHORT_FROM, NO_EDITS_FROM = 3, 5
LONG, SHORT = MAX_TOKENS[Length.NORMAL], MAX_TOKENS[Length.SHORT]


async def measured(house: House) -> dict[str, float]:
    """Every sample of the metrics page, labels in braces."""
    page = await house.http.get("/metrics")
    assert page.status_code == 200
    return {
        sample.name + "".join(f"{{{value}}}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page.text)
        for sample in family.samples
    }


async def ask(house: House, core: ScriptedCore, question: str, gate: asyncio.Event) -> Guest:
    """Somebody asks; the answer comes slowly, and only when the gate opens."""
    guest = house.guest()
    core.on(question, Answers(f"Réponse à {question} " * 8, pieces=8, pause=0.35, gate=gate))
    guest.say(question)
    await house.until(lambda: core.times(question))
    return guest


def tokens(core: ScriptedCore) -> list[int]:
    return [asked.body["max_tokens"] for asked in core.asked]


def shown(house: House, guests: list[Guest]) -> list[int]:
    """How many texts the answer of each had."""
    return [len(house.telegram.world.from_bot(guest.person.id)[0].versions) for guest in guests]


async def test_answers_become_short_then_are_shown_at_once_and_all_comes_back(
    tmp_path: Path, redis_url: str
) -> None:
    thresholds = {"SHORT_ANSWERS_FROM": f"{SHORT_FROM}", "NO_EDITS_FROM": f"{NO_EDITS_FROM}"}
    async with (
        scripted_core() as core,
        open_house(core, tmp_path, REDIS_URL=redis_url, **thresholds) as house,
    ):
        gate = asyncio.Event()
        guests = [await ask(house, core, f"question {number}", gate) for number in range(6)]
        assert tokens(core) == [LONG, LONG, SHORT, SHORT, SHORT, SHORT]
        busy = await measured(house)
        assert busy["neo_telegram_strain"] == 2
        assert busy["neo_telegram_queue_length"] == 6
        assert busy["neo_telegram_queue_age_seconds"] > 0
        gate.set()
        await house.until(lambda: all(complete(guest) for guest in guests))
        counts = shown(house, guests)
        assert min(counts[:4]) > 1
        assert counts[4:] == [1, 1]

        # The way back: the queue is empty, and the next one has all of it again.
        guest = await ask(house, core, "encore une", gate)
        assert tokens(core)[-1] == LONG
        await house.until(lambda: complete(guest))
        assert min(shown(house, [guest])) > 1
        assert (await measured(house))["neo_telegram_strain"] == 0


def complete(guest: Guest) -> bool:
    return [text.count("Réponse") for text in guest.shown()] == [8]


async def test_the_pages_tell_how_the_service_is_and_nobodys_name_or_words(
    tmp_path: Path, redis_url: str, postgres_url: str
) -> None:
    async with (
        scripted_core() as core,
        open_house(core, tmp_path, REDIS_URL=redis_url, DATABASE_URL=postgres_url) as house,
    ):
        guest = house.guest()
        core.on("mon secret", Answers("un grand secret", tokens=34), Answers("un grand secret", tokens=8))
        for message in ("mon secret", "/help", "mon secret"):
            guest.say(message)
            await guest.hears()
        health = (await house.http.get("/health")).json()
        assert health["status"] == "ok"
        assert health["parts"].keys() == {"database", "ai_core", "telegram", "redis"}
        assert all(part["latency_ms"] >= 0 for part in health["parts"].values())
        for path in ("/livez", "/readyz"):
            assert (await house.http.get(path)).status_code == 200

        values = await measured(house)
        expected = {
            "neo_telegram_messages_total{text}": 2,
            "neo_telegram_messages_total{command}": 1,
            "neo_telegram_answers_total{small}": 2,
            "neo_telegram_answer_tokens_total{small}": 42,
            "neo_telegram_answer_duration_seconds_count": 2,
            "neo_telegram_time_to_first_text_seconds_count": 2,
            "neo_telegram_intake_seconds_count": 3,
            "neo_telegram_active_users": 1,
            "neo_telegram_queue_length": 0,
            "neo_telegram_outbox_length": 0,
            "neo_telegram_dead_letters": 0,
            "neo_telegram_unknown_sends": 0,
            "neo_telegram_repeated_sends": 0,
            "neo_telegram_database_up": 1,
        }
        assert {name: values[name] for name in expected} == expected
        assert values["neo_telegram_calls_total{send}{ok}"] >= 3
        page = (await house.http.get("/metrics")).text
        everything = page + b"".join(house.log).decode()
        for private in ("secret", str(guest.person.id), guest.person.first_name):
            assert private not in everything.replace(house.url, "")
