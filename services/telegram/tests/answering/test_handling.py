"""A person writes, and is answered once: over the emulator, with a real AI core and a real database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.emulators.telegram.refusal import BLOCKED, bad_request, too_many
from tests.emulators.telegram.world import Chat, Person

from ai_core_service import Server, running
from scripted_core import Answers, Hangs, Refuses, ScriptedCore, scripted_core
from servicekit.ai_core.client import AiCore
from servicekit.documents.extractor import ConfinedExtractor
from servicekit.journal.journal import Journal, now_in_utc
from servicekit.journal.lane import HeldLane, LaneLost
from servicekit.journal.ledger import Ledger
from servicekit.key_value.enduring_limits import EnduringLimits
from servicekit.key_value.redis_connection import RedisConnection
from servicekit.key_value.redis_limits import RedisLimits
from servicekit.storage.database import Database, database_url
from servicekit.storage.migrating import upgrade
from servicekit.storage.sealing import SecretSeal
from telegram_server import TelegramServer, telegram_server
from telegram_service.allowance import Allowance, Rules, unlimited
from telegram_service.answering.administering import Administration
from telegram_service.answering.asking import Persona, Thresholds
from telegram_service.answering.delivering import Deliverer, Later
from telegram_service.answering.envelopes import Envelopes
from telegram_service.answering.files import Files
from telegram_service.answering.handling import MOST_ATTEMPTS, Handler
from telegram_service.answering.performing import Performer
from telegram_service.answering.personal_data import PersonalData
from telegram_service.answering.tools import Policy, Tools
from telegram_service.answering.writing import Writer, Written
from telegram_service.dialogue.decide import House
from telegram_service.dialogue.history import Turn
from telegram_service.dialogue.incoming import Language
from telegram_service.dialogue.phrases import Phrase, phrase
from telegram_service.dialogue.reading import read_update
from telegram_service.hot_keys import HotKeys
from telegram_service.messenger.bot_api import BotApiMessenger
from telegram_service.messenger.pacing import Pacer
from telegram_service.messenger.port import TooSoon
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
        broadcasts = Broadcasts(self.database, self.clock)
        personal_data = PersonalData(
            self.database,
            self.people,
            self.conversations,
            broadcasts,
            self.ledger,
            self.envelopes,
            unlimited(self.clock),
        )
        deliverer = Deliverer(
            self.messenger, self.envelopes, Pacer(), export=personal_data.export, sleep=self._no_wait
        )
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
            personal_data=personal_data,
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

    async def remembered(self, lane: str = "42") -> list[tuple[int, Turn]]:
        """Of the conversation that goes on, with the entries of the journal."""
        return [(one.entry_id, one.turn) for one in (await self.conversations.recent(lane, 9)).turns]

    async def all_rows(self) -> list[Any]:
        """Of all tables."""
        async with self.database.reading() as connection:
            return [
                row
                for table in metadata.tables.values()
                for row in (await connection.execute(table.select())).all()
            ]

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


@pytest.fixture
async def scripted(bot: Bot) -> AsyncIterator[ScriptedCore]:
    """Writes the bot's answers."""
    async with scripted_core() as core, AiCore(core.url, core.key) as ai_core:
        bot.ai_core = ai_core
        bot.__post_init__()
        yield core


def french(which: Phrase, **values: object) -> str:
    return phrase(which, Language.FRENCH, **values).replace("**", "")


async def test_a_question_is_answered_and_remembered(bot: Bot) -> None:
    assert await bot.answers("Bonjour **à tous**") == ["Bonjour à tous"]
    assert [turn.question for _, turn in await bot.remembered()] == ["Bonjour **à tous**"]
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
    assert len(await bot.remembered()) == 1
    await bot.answers("/reset")
    assert await bot.remembered() == []


async def test_two_halves_of_a_long_message_are_one_question(bot: Bot) -> None:
    await bot.says("a" * 4050)
    await bot.says("b" * 10)
    await bot.says("c")
    await bot.work()
    questions = [turn.question for _, turn in await bot.remembered()]
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
    questions = [turn.question for _, turn in await bot.remembered()]
    assert questions == ["a" * 4050 + "b" * 10, "c"]


async def test_what_is_said_later_is_no_second_half_however_long_the_first_has_waited(bot: Bot) -> None:
    update = bot.server.world.say(bot.anne, text="a" * 4050)
    update["message"]["date"] -= 60
    await bot.receive(update)
    await bot.says("b")
    await bot.work()
    questions = [turn.question for _, turn in await bot.remembered()]
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
    assert [turn.question for _, turn in await bot.remembered()] == ["un"]


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
    assert await bot.all_rows() == []


async def test_who_is_forgotten_while_they_are_answered_stays_forgotten(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = bot.tools.writer.write

    async def write_and_be_overtaken(*arguments: Any, **options: Any) -> Written:
        written = await write(*arguments, **options)
        await bot.tools.performer.personal_data.forget(ANNE)
        return written

    monkeypatch.setattr(bot.tools.writer, "write", write_and_be_overtaken)
    await bot.says("mon secret")
    with pytest.raises(LaneLost):
        await bot.work()
    assert await bot.all_rows() == []


async def test_a_wish_to_be_forgotten_waits_for_a_redis_that_is_away(bot: Bot) -> None:
    await bot.answers("mon secret")
    data = bot.tools.performer.personal_data
    away = RedisConnection("redis://127.0.0.1:1", timeout=0.1)
    allowance = Allowance(
        EnduringLimits(RedisLimits(away)), HotKeys(SecretSeal(b"s", "t")), Rules(), bot.clock
    )
    whole = bot.tools
    waiting = replace(whole.performer, personal_data=replace(data, allowance=allowance))
    bot.tools = replace(whole, performer=waiting)
    await bot.answers("/forget")
    await bot.presses("forget:yes")
    await bot.work()
    assert bot.shown()[-1] == french(Phrase.FORGET_ASK)
    assert await bot.ledger.put_off() == {"Redis is away": 1}
    assert [turn.question for _, turn in await bot.remembered()] == ["mon secret"]
    bot.tools = whole
    bot.clock.skipped += timedelta(minutes=1)
    await bot.work()
    assert bot.shown()[-1] == french(Phrase.FORGOTTEN)
    assert await bot.all_rows() == []
    await away.close()


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
    ((_, turn),) = await bot.remembered()
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
    assert await bot.remembered() == []


@pytest.mark.parametrize(("command", "remembered"), [("/stop", ["attends"]), ("/reset", [])])
async def test_an_answer_is_stopped_before_its_first_word_and_stays_in_its_conversation(
    bot: Bot, scripted: ScriptedCore, command: str, remembered: list[str]
) -> None:
    scripted.on("attends", Hangs())
    await bot.says("attends")
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(bot.work())
        while not scripted.asked:  # noqa: ASYNC110 — it tells nobody
            await asyncio.sleep(0.01)
        await bot.says(command)
        await bot.work()
    assert french(Phrase.CUT_SHORT) in bot.shown()
    assert [turn.question for _, turn in await bot.remembered()] == remembered
    (kept,) = await bot.conversations.of_person(ANNE)
    assert kept.turn == Turn("attends", "")


async def test_a_recording_that_nobody_wants_heard_any_more_is_let_go(bot: Bot) -> None:
    begun = asyncio.Event()

    async def listen_for_ever(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun.set()
        await reader.read(-1)
        writer.close()

    server = await asyncio.start_server(listen_for_ever, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, AiCore(url, "neo_a_b") as bot.ai_core:
        bot.__post_init__()
        await bot.gives("voice.oga", b"OggS", kind="voice")
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            group.create_task(bot.work())
            await begun.wait()
            await bot.says("/stop")
            await bot.work()
    assert bot.shown() == [french(Phrase.CUT_SHORT)]
    assert (await bot.ledger.backlog()).pending == 0


async def test_in_a_group_everybody_repeats_their_own_question(bot: Bot) -> None:
    bot.server.world.add_group(Chat(-100, "supergroup", "Bureau"))
    bob = bot.server.world.add_person(Person(77, "Bob", "fr"))

    async def says(person: Person, text: str) -> str:
        bot.__post_init__()
        await bot.receive(bot.server.world.say(person, -100, text=text))
        await bot.work()
        return bot.server.world.from_bot(-100)[-1].versions[-1]

    assert await says(bot.anne, "@neo_test_bot à Anne") == "à Anne"
    assert await says(bob, "/retry") == french(Phrase.NOTHING_TO_RETRY)
    assert await says(bob, "@neo_test_bot à Bob") == "à Bob"
    assert await says(bot.anne, "/retry") == "à Anne"
    for person, question in ((ANNE, "à Anne"), (77, "à Bob")):
        (kept,) = await bot.conversations.of_person(person)
        assert kept.turn == Turn(question, question)


async def test_an_answer_that_telegram_refuses_is_a_dead_letter(bot: Bot) -> None:
    async def refuse(method: str, _fields: dict[str, Any]) -> str:
        if method == "sendMessage":
            raise bad_request("something that nobody knows")
        return ""

    bot.server.api.meddle = refuse
    await bot.answers("un")
    (dead,) = await bot.ledger.dead_letters()
    assert "refuses" in dead.reason
    backlog = await bot.ledger.backlog()
    assert (backlog.pending, backlog.unsent_parts) == (0, 0)


async def test_however_often_the_service_is_stopped_meanwhile_the_answer_is_not_given_up(
    bot: Bot, scripted: ScriptedCore
) -> None:
    scripted.on("attends", *[Hangs()] * (MOST_ATTEMPTS + 1), Answers("enfin"))
    await bot.says("attends")
    for stops in range(1, MOST_ATTEMPTS + 2):
        working = asyncio.create_task(bot.work())
        while len(scripted.asked) < stops:  # noqa: ASYNC110 — it tells nobody
            await asyncio.sleep(0.01)
        working.cancel()
        await asyncio.wait({working})
        # The next one takes over when the lease is over.
        bot.clock.skipped += timedelta(seconds=31)
    await bot.work(replace(POLICY, processing_timeout=timedelta(hours=1)))
    assert bot.shown() == ["enfin"]


async def test_an_unknown_token_is_waited_for(bot: Bot) -> None:
    known, bot.server.api.token = bot.server.api.token, "revoked"
    assert await bot.answers("un") == []
    assert list(await bot.ledger.put_off()) == ["Telegram does not know TELEGRAM_BOT_TOKEN"]
    bot.server.api.token = known
    bot.clock.skipped += timedelta(minutes=1)
    await bot.work()
    assert bot.shown() == ["un"]


async def test_a_group_that_is_gone_says_nothing_about_who_asked_there(bot: Bot) -> None:
    async def gone(method: str, _fields: dict[str, Any]) -> str:
        if method == "sendMessage":
            raise BLOCKED
        return ""

    bot.server.world.add_group(Chat(-100, "supergroup", "Bureau"))
    bot.server.api.meddle = gone
    await bot.receive(bot.server.world.say(bot.anne, -100, text="@neo_test_bot un"))
    await bot.work()
    assert await bot.people.reachable() == [ANNE]
    await bot.answers("un")
    assert await bot.people.reachable() == []


async def test_what_follows_and_cannot_be_opened_takes_no_question_with_it(bot: Bot) -> None:
    await bot.says("a" * 4050)
    other = Envelopes(SecretSeal(b"another secret", "telegram"))
    await bot.journal.receive("x", "42", other.close_update({"update_id": 1}))
    await bot.work()
    assert [turn.question for _, turn in await bot.remembered()] == ["a" * 4050]
    assert (await bot.ledger.backlog()).dead == 1


async def test_when_telegram_wants_silence_typing_is_silent_too(bot: Bot, scripted: ScriptedCore) -> None:
    async def penalty(method: str, _fields: dict[str, Any]) -> str:
        if method == "sendChatAction":
            raise too_many(30)
        return ""

    gate = asyncio.Event()
    scripted.on("un", Answers("un", gate=gate))
    bot.server.api.meddle = penalty
    await bot.says("un")
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(bot.work())
        while "sendChatAction" not in bot.server.api.calls:  # noqa: ASYNC110 — it tells nobody
            await asyncio.sleep(0.01)
        gate.set()
    later = await bot.tools.deliverer.wait_turn(ANNE)
    assert isinstance(later, Later)
    assert later.seconds > 20


async def test_what_others_know_of_a_penalty_keeps_typing_silent(bot: Bot, scripted: ScriptedCore) -> None:
    gate = asyncio.Event()
    scripted.on("un", Answers("un", gate=gate))
    await bot.tools.deliverer.note(ANNE, TooSoon(0.9))
    began = asyncio.get_running_loop().time()
    await bot.says("un")
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(bot.work())
        while "sendChatAction" not in bot.server.api.calls:  # noqa: ASYNC110 — it tells nobody
            await asyncio.sleep(0.01)
        assert asyncio.get_running_loop().time() - began >= 0.9
        gate.set()


async def test_a_question_that_waits_and_is_ended_by_a_reset_stays_in_its_conversation(
    bot: Bot, scripted: ScriptedCore
) -> None:
    scripted.on("attends", Refuses(503))
    assert await bot.answers("attends") == []
    assert await bot.answers("/reset") == [french(Phrase.RESET), french(Phrase.CUT_SHORT)]
    assert await bot.remembered() == []
    assert await bot.answers("/retry") == [french(Phrase.NOTHING_TO_RETRY)]
    (kept,) = await bot.conversations.of_person(ANNE)
    assert kept.turn == Turn("attends", "")


async def test_an_export_whose_reply_was_lost_is_not_sent_again(bot: Bot) -> None:
    async def cut(method: str, _fields: dict[str, Any]) -> str:
        return "after" if method == "sendDocument" else ""

    bot.server.api.meddle = cut
    await bot.answers("/export")
    (sent,) = bot.server.world.from_bot(ANNE)
    assert sent.fields["document"]["file_name"] == "neo-export.json"
    backlog = await bot.ledger.backlog()
    assert (backlog.pending, backlog.dead, backlog.unknown_parts) == (0, 0, 1)


async def test_who_dies_before_the_export_is_noted_is_followed_by_one_who_counts_it(bot: Bot) -> None:
    await bot.says("/export")
    handler = Handler(POLICY, bot.tools, bot_id=BOT[0], bot_name=BOT[1], clock=bot.clock)
    dying = await bot.journal.claim()
    assert dying is not None

    async def die(method: str, _fields: dict[str, Any]) -> str:
        if method == "sendDocument" and bot.clock.skipped == timedelta():
            # Whoever comes back finds the lane taken: it can note nothing any more.
            bot.clock.skipped += timedelta(minutes=1)
            successors.append(await bot.journal.claim())
        return ""

    successors: list[HeldLane | None] = []
    bot.server.api.meddle = die
    with pytest.raises(LaneLost):
        await handler.handle(dying)
    (successor,) = successors
    assert successor is not None
    # In a process of its own: what is out, it does not know.
    bot.__post_init__()
    await Handler(POLICY, bot.tools, bot_id=BOT[0], bot_name=BOT[1], clock=bot.clock).handle(successor)
    assert len(bot.server.world.from_bot(ANNE)) == 2
    backlog = await bot.ledger.backlog()
    assert (backlog.pending, backlog.repeated_parts) == (0, 1)


async def test_an_export_that_telegram_does_not_take_is_told(bot: Bot) -> None:
    async def refuse(method: str, _fields: dict[str, Any]) -> str:
        if method == "sendDocument":
            raise bad_request("file is too big")
        return ""

    bot.server.api.meddle = refuse
    assert await bot.answers("/export") == [french(Phrase.EXPORT_FAILED)]
    assert (await bot.ledger.backlog()).dead == 0


async def test_who_is_forgotten_as_their_message_is_taken_up_stays_forgotten(bot: Bot) -> None:
    await bot.answers("mon secret")
    bot.clock.skipped += timedelta(minutes=5)
    await bot.says("encore")
    held = await bot.journal.claim()
    assert held is not None
    await bot.tools.performer.personal_data.forget(ANNE)
    for late in (
        bot.people.meet(ANNE, held.writing),
        bot.conversations.recent(held.name, 9, held.writing),
    ):
        with pytest.raises(LaneLost):
            await late
    assert await bot.all_rows() == []
