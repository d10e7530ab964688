"""A person writes, and is answered once: over the emulator, with a real AI core and a real database."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ai_core_service import Server, running
from telegram_server import TelegramServer, telegram_server
from tests.emulators.telegram.refusal import too_many
from tests.emulators.telegram.world import Person

from servicekit.ai_core.client import AiCore
from servicekit.documents.extractor import ConfinedExtractor
from servicekit.journal.journal import Journal, now_in_utc
from servicekit.journal.ledger import Ledger
from servicekit.storage.database import Database, database_url
from servicekit.storage.migrating import upgrade
from servicekit.storage.sealing import SecretSeal
from telegram_service.allowance import unlimited
from telegram_service.answering.administering import Administration
from telegram_service.answering.asking import Persona, Thresholds
from telegram_service.answering.delivering import Deliverer
from telegram_service.answering.envelopes import Envelopes
from telegram_service.answering.files import Files
from telegram_service.answering.handling import MOST_ATTEMPTS, Handler
from telegram_service.answering.performing import Performer
from telegram_service.answering.personal_data import PersonalData
from telegram_service.answering.tools import Policy, Tools
from telegram_service.answering.writing import Writer
from telegram_service.dialogue.decide import House
from telegram_service.dialogue.incoming import Language
from telegram_service.dialogue.phrases import Phrase, phrase
from telegram_service.dialogue.reading import read_update
from telegram_service.messenger.bot_api import BotApiMessenger
from telegram_service.messenger.pacing import Pacer
from telegram_service.storage.broadcasts import Broadcasts
from telegram_service.storage.conversations import Conversations
from telegram_service.storage.migrations import SCHEMA
from telegram_service.storage.people import People
from telegram_service.storage.tables import journal as journal_tables
from telegram_service.storage.tables import metadata

BOT = (7_000_000, "neo_test_bot")
ANNE = 42
POLICY = Policy(
    house=House(retention_days=30),
    persona=Persona({language: f"Neo, {language}" for language in Language}, 50, 10_000),
    processing_timeout=timedelta(minutes=5),
    thresholds=Thresholds(short_answers=50, no_edits=100),
)


@dataclass
class Clock:
    """The time, and however much of it a test skips."""

    skipped: timedelta = timedelta()

    def __call__(self) -> datetime:
        return now_in_utc() + self.skipped


@dataclass
class Bot:
    """The service's inside, worked by hand."""

    server: TelegramServer
    database: Database
    ai_core: AiCore
    messenger: BotApiMessenger
    clock: Clock
    anne: Person = field(init=False)

    def __post_init__(self) -> None:
        self.anne = self.server.world.add_person(Person(ANNE, "Anne", "fr"))
        seal = SecretSeal(b"secret of the tests", "telegram")
        self.envelopes = Envelopes(seal)
        self.journal = Journal(self.database, journal_tables, clock=self.clock)
        self.ledger = Ledger(self.database, journal_tables, self.clock)
        self.people = People(self.database, self.clock)
        self.conversations = Conversations(
            self.database, seal, self.clock, session_timeout=timedelta(hours=1)
        )
        # A pace at which no test has to wait.
        deliverer = Deliverer(self.messenger, self.envelopes, Pacer(), sleep=self._no_wait)
        broadcasts = Broadcasts(self.database, self.clock)
        performer = Performer(
            ai_core=self.ai_core,
            messenger=self.messenger,
            deliverer=deliverer,
            people=self.people,
            conversations=self.conversations,
            administration=Administration(
                people=self.people,
                broadcasts=broadcasts,
                ledger=self.ledger,
                deliverer=deliverer,
                envelopes=self.envelopes,
                clock=self.clock,
            ),
            personal_data=PersonalData(
                self.database,
                self.people,
                self.conversations,
                broadcasts,
                self.ledger,
                self.envelopes,
                unlimited(self.clock),
            ),
            journal=self.journal,
            ledger=self.ledger,
        )
        self.tools = Tools(
            writer=Writer(self.ai_core, self.messenger, deliverer),
            deliverer=deliverer,
            performer=performer,
            envelopes=self.envelopes,
            people=self.people,
            conversations=self.conversations,
            ledger=self.ledger,
            files=Files(self.messenger, ConfinedExtractor(), self.ai_core, 1_000_000, 2_000),
            seal=seal,
        )

    async def _no_wait(self, _seconds: float) -> None:
        self.server.world.flood.__init__()  # type: ignore[misc]

    async def receive(self, update: dict[str, Any]) -> None:
        incoming = read_update(update, *BOT)
        assert incoming is not None
        place = incoming.place
        lane = place.control_lane if incoming.is_control else place.lane
        await self.journal.receive(str(update["update_id"]), lane, self.envelopes.close_update(update))

    async def says(self, text: str) -> None:
        await self.receive(self.server.world.say(self.anne, text=text))

    async def gives(self, name: str, content: bytes, *, kind: str = "document", **fields: Any) -> None:
        await self.receive(self.server.world.give(self.anne, name, content, kind=kind, **fields))

    async def presses(self, data: str) -> None:
        message = self.server.world.from_bot(ANNE)[-1]
        await self.receive(self.server.world.press(self.anne, ANNE, message.id, data))

    async def work(self, policy: Policy = POLICY) -> None:
        """Until nothing is due."""
        handler = Handler(policy, self.tools, bot_id=BOT[0], bot_name=BOT[1], clock=self.clock)
        while (lane := await self.journal.claim()) is not None:
            await handler.handle(lane)
            await lane.release()

    async def answers(self, text: str, policy: Policy = POLICY) -> list[str]:
        """What is shown in the chat because of this."""
        before = len(self.shown())
        await self.says(text)
        await self.work(policy)
        return self.shown()[before:]

    def shown(self) -> list[str]:
        return [message.versions[-1] for message in self.server.world.from_bot(ANNE)]


@pytest.fixture(scope="module")
def core() -> Iterator[Server]:
    with running(ENGINE_BACKEND="scripted", MODEL_NAME="scripted") as server:
        yield server


@pytest.fixture
async def bot(core: Server, tmp_path: Path) -> AsyncIterator[Bot]:
    database = Database(database_url(f"sqlite:///{tmp_path}/telegram.db"))
    await upgrade(database, SCHEMA)
    async with (
        telegram_server() as server,
        server.bot() as telegram,
        AiCore(core.url, core.key) as ai_core,
    ):
        yield Bot(server, database, ai_core, BotApiMessenger(telegram), Clock())
    await database.close()


def french(which: Phrase, **values: object) -> str:
    return phrase(which, Language.FRENCH, **values).replace("**", "")


async def test_a_question_is_answered_and_remembered(bot: Bot) -> None:
    assert await bot.answers("Bonjour **à tous**") == ["Bonjour à tous"]
    assert [turn.question for _, turn in await bot.conversations.recent("42", 9)] == ["Bonjour **à tous**"]
    assert (await bot.ledger.backlog()).pending == 0


async def test_the_same_update_again_is_not_answered_again(bot: Bot) -> None:
    update = bot.server.world.say(bot.anne, text="un")
    for _ in range(3):
        await bot.receive(update)
        await bot.work()
    assert bot.shown() == ["un"]


async def test_a_long_answer_is_shown_while_it_is_written_and_then_whole(bot: Bot) -> None:
    await bot.says("[[slow 100]] [[30]]")
    await bot.work()
    (message,) = bot.server.world.from_bot(ANNE)
    assert len(message.versions) > 1
    assert message.versions[0].endswith("…")
    assert message.versions[-1].startswith("Le contrat de travail")
    assert not message.versions[-1].endswith("…")


async def test_who_wants_answers_at_once_gets_no_edits(bot: Bot) -> None:
    await bot.answers("/settings")
    await bot.presses("streaming:off")
    await bot.work()
    await bot.answers("[[slow 60]] [[30]]")
    assert len(bot.server.world.from_bot(ANNE)[-1].versions) == 1


async def test_commands_are_answered_in_the_persons_language(bot: Bot) -> None:
    assert await bot.answers("/help") == [french(Phrase.HELP)]
    assert await bot.answers("/nonsense") == [french(Phrase.UNKNOWN_COMMAND)]
    await bot.answers("/settings")
    await bot.presses("language:en")
    await bot.work()
    assert await bot.answers("/reset") == [phrase(Phrase.RESET, Language.ENGLISH)]


async def test_models_are_listed_chosen_and_missed(bot: Bot) -> None:
    assert await bot.answers("/models") == [french(Phrase.MODELS)]
    await bot.presses("model:scripted")
    await bot.work()
    assert bot.shown()[-1] == french(Phrase.SWITCHED, model="scripted")
    assert await bot.answers("/switch autre") == [french(Phrase.NO_SUCH_MODEL, model="autre")]
    person = await bot.people.meet(ANNE)
    await bot.people.save(ANNE, replace(person.settings, model="gone"))
    assert await bot.answers("un") == [
        "un",
        french(Phrase.MODEL_GONE, model="gone", default="scripted"),
    ]


async def test_a_reset_forgets_the_conversation_and_retry_takes_up_the_last_question(bot: Bot) -> None:
    assert await bot.answers("/retry") == [french(Phrase.NOTHING_TO_RETRY)]
    await bot.answers("un")
    assert await bot.answers("/retry") == ["un"]
    assert len(await bot.conversations.recent("42", 9)) == 1
    await bot.answers("/reset")
    assert await bot.conversations.recent("42", 9) == []


async def test_two_halves_of_a_long_message_are_one_question(bot: Bot) -> None:
    await bot.says("a" * 4050)
    await bot.says("b" * 10)
    await bot.says("c")
    await bot.work()
    questions = [turn.question for _, turn in await bot.conversations.recent("42", 9)]
    assert questions == ["a" * 4050 + "b" * 10, "c"]


async def test_the_second_half_is_not_lost_where_the_answer_has_to_be_tried_again(bot: Bot) -> None:
    async with AiCore("http://127.0.0.1:9", "neo_a_b") as nowhere:
        core, bot.ai_core = bot.ai_core, nowhere
        bot.__post_init__()
        await bot.says("a" * 4050)
        await bot.says("b" * 10)
        await bot.work()
        bot.ai_core = core
        bot.__post_init__()
    bot.clock.skipped += timedelta(minutes=1)
    await bot.says("c")
    await bot.work()
    questions = [turn.question for _, turn in await bot.conversations.recent("42", 9)]
    assert questions == ["a" * 4050 + "b" * 10, "c"]


async def test_what_is_said_later_is_no_second_half_however_long_the_first_has_waited(bot: Bot) -> None:
    update = bot.server.world.say(bot.anne, text="a" * 4050)
    update["message"]["date"] -= 60
    await bot.receive(update)
    await bot.says("b")
    await bot.work()
    questions = [turn.question for _, turn in await bot.conversations.recent("42", 9)]
    assert questions == ["a" * 4050, "b"]


async def test_however_often_telegram_is_away_the_answer_is_not_given_up(bot: Bot) -> None:
    async def away(method: str, _fields: dict[str, Any]) -> str:
        if method == "sendMessage":
            raise too_many(2)
        return ""

    here, bot.server.api.meddle = bot.server.api.meddle, away
    await bot.says("un")
    for _ in range(2 * MOST_ATTEMPTS):
        bot.clock.skipped += timedelta(minutes=1)
        bot.__post_init__()
        await bot.work()
    bot.server.api.meddle = here
    bot.clock.skipped += timedelta(minutes=1)
    # The limits' clock is another: they begin anew.
    bot.__post_init__()
    await bot.work()
    assert bot.shown() == ["un"]
    assert (await bot.ledger.backlog()).dead == 0


async def test_an_ai_core_that_is_away_is_waited_for_and_then_apologised_for(
    bot: Bot, tmp_path: Path
) -> None:
    async with AiCore("http://127.0.0.1:9", "neo_a_b") as nowhere:
        bot.ai_core = nowhere
        bot.__post_init__()
        assert await bot.answers("un") == []
        assert (await bot.ledger.backlog()).pending == 1
        bot.clock.skipped += timedelta(minutes=2)
        await bot.work()
        assert bot.shown() == [french(Phrase.TAKES_LONGER)]
        bot.clock.skipped += timedelta(minutes=4)
        await bot.work()
        (message,) = bot.server.world.from_bot(ANNE)
        assert message.versions == [french(Phrase.TAKES_LONGER), french(Phrase.APOLOGY)]
    assert (await bot.ledger.backlog()).pending == 0
    assert [turn.question for _, turn in await bot.conversations.recent("42", 9)] == ["un"]


async def test_what_the_model_cannot_take_is_said(bot: Bot) -> None:
    assert await bot.answers("[[fail]]") == []
    bot.clock.skipped += timedelta(minutes=6)
    await bot.work()
    assert bot.shown() == [french(Phrase.APOLOGY)]


async def test_strangers_are_turned_away_and_the_banned_hear_nothing(bot: Bot) -> None:
    closed = replace(POLICY, allowed=frozenset({7}))
    assert await bot.answers("un", closed) == [french(Phrase.NOT_ALLOWED, user=ANNE)]
    await bot.people.ban(ANNE, banned=True)
    assert await bot.answers("deux") == []
    assert (await bot.ledger.backlog()).pending == 0


async def test_administrators_see_and_shut_out(bot: Bot) -> None:
    policy = replace(POLICY, admins=frozenset({ANNE}))
    (stats,) = await bot.answers("/stats", policy)
    assert stats.startswith("Personnes connues : 1, dont 1 depuis hier")
    assert await bot.answers("/ban 77", policy) == [french(Phrase.BANNED, user=77)]
    assert (await bot.people.meet(77)).banned
    assert await bot.answers("/ban 77") == [french(Phrase.ADMINS_ONLY)]


async def test_people_have_their_data_and_delete_it(bot: Bot) -> None:
    await bot.answers("mon secret")
    await bot.answers("/export")
    file_id = bot.server.world.from_bot(ANNE)[-1].fields["document"]["file_id"]
    export = json.loads(bot.server.world.files.by_id[file_id].content)
    assert [turn["question"] for turn in export["conversations"]] == ["mon secret"]
    assert [said["update"]["message"]["text"] for said in export["messages"]] == ["mon secret", "/export"]
    assert await bot.answers("/forget") == [french(Phrase.FORGET_ASK)]
    await bot.presses("forget:yes")
    await bot.work()
    assert bot.shown()[-1] == french(Phrase.FORGOTTEN)
    async with bot.database.reading() as connection:
        for table in metadata.tables.values():
            assert (await connection.execute(table.select())).all() == []


async def test_what_was_sealed_with_another_key_is_a_dead_letter(bot: Bot) -> None:
    other = Envelopes(SecretSeal(b"another secret", "telegram"))
    await bot.journal.receive("x", "42", other.close_update({"update_id": 1}))
    await bot.work()
    (dead,) = await bot.ledger.dead_letters()
    assert "SECRET_KEY" in dead.reason


async def test_a_file_is_fetched_once_however_often_its_question_is_asked(bot: Bot) -> None:
    await bot.gives("bail.txt", "Le loyer est de 500 €".encode(), caption="[[fail]] Combien ?")
    await bot.work()
    assert bot.shown() == []
    bot.clock.skipped += timedelta(minutes=1)
    await bot.work()
    bot.clock.skipped += timedelta(minutes=10)
    await bot.work()
    assert bot.shown() == [french(Phrase.APOLOGY)]
    assert bot.server.world.files.downloads == 1
    ((_, turn),) = await bot.conversations.recent("42", 9)
    assert (turn.question, turn.answer) == ("[[fail]] Combien ?", "")
    assert turn.document == "Document « bail.txt » :\nLe loyer est de 500 €"


async def test_a_document_comes_back_with_retry_and_is_part_of_the_export(bot: Bot) -> None:
    await bot.gives("bail.txt", b"500 EUR", caption="Combien ?")
    await bot.work()
    echo = "Document « bail.txt » :\n500 EUR\n\nCombien ?"
    assert await bot.answers("/retry") == [echo]
    await bot.answers("/export")
    file_id = bot.server.world.from_bot(ANNE)[-1].fields["document"]["file_id"]
    export = json.loads(bot.server.world.files.by_id[file_id].content)
    assert export["conversations"][0]["document"] == "Document « bail.txt » :\n500 EUR"


async def test_a_file_that_cannot_be_had_is_tried_for_a_while_and_then_asked_for_again(bot: Bot) -> None:
    async def cut(method: str, _fields: dict[str, Any]) -> str:
        return "after" if method == "download" else ""

    bot.server.api.meddle = cut
    await bot.gives("bail.txt", b"500 EUR")
    for _ in range(100):
        await bot.work()
        bot.clock.skipped += timedelta(seconds=10)
    assert bot.shown() == [french(Phrase.FILE_GONE)]
    assert bot.server.world.files.downloads <= 12
    assert (await bot.ledger.backlog()).pending == 0


async def test_a_voice_message_is_answered_kindly_where_nobody_can_hear_it(bot: Bot) -> None:
    await bot.gives("voice.oga", b"OggS", kind="voice")
    await bot.work()
    assert bot.shown() == [french(Phrase.NO_VOICE)]
    assert await bot.conversations.recent("42", 9) == []
