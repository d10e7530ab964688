"""One run: the servers around the service, its lives, what people write, and what became of it."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from sqlalchemy import select
from tests.emulators.telegram.world import Person

from chaos.fast_time import FACTOR, fast_clock
from chaos.forks import End, Zygote
from chaos.mishaps import Life, Outage
from chaos.outages import Servers, happen
from chaos.points import open_sends, traced
from chaos.zygote import FOR_A_WHILE
from servicekit.storage.database import Database, StorageUnavailable, database_url
from servicekit.storage.sealing import seal_for
from telegram_chaos.core import KEY, Core
from telegram_chaos.meddling import Mangler, Meddler
from telegram_chaos.plan import INSIDE, LONGEST_LIFE, SPEAKING_SECONDS, Plan, Saying
from telegram_chaos.verdict import EntryRow, Facts, PartRow, Said, ShownRow, Verdict, judge
from telegram_server import TOKEN, TelegramServer, telegram_server
from telegram_service.answering.envelopes import Envelopes
from telegram_service.storage.tables import journal as tables

SECRET = "the secret of the chaos"
FIRST_PERSON = 101
PATIENCE = 600.0
"""Seconds of a run after which nobody waits for quiet any longer."""
LONG_QUESTION = 4_050


@dataclass
class Outcome:
    """What is kept of a run."""

    seed: int
    faults: Sequence[str]
    points: Sequence[str]
    """Where the process was killed, in order."""
    questions: int
    answered: int
    ambiguous: int
    cuts: int
    starts: int
    happened: Sequence[str]
    seconds: float
    cpu: float


@dataclass
class Stage:
    """Everything that a run moves."""

    plan: Plan
    folder: Path
    zygote: Zygote
    telegram: TelegramServer
    core: Core
    environ: dict[str, str]
    epoch: float
    said: list[Said] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)
    pid: int = 0
    due: Life | None = None
    """What comes to an end outside."""
    passed: Counter[str] = field(default_factory=Counter)

    @property
    def trace(self) -> Path:
        """What the service's processes wrote about themselves."""
        return self.folder / "trace.jsonl"

    def start(self, life: Life | None) -> None:
        """A new process, which ends as this life says."""
        inside = life is not None and life.point in INSIDE
        self.due = None if inside else life
        self.passed.clear()
        order = {
            "environ": self.environ,
            "folder": str(self.folder),
            "log": str(self.folder / "service.log"),
            "trace": str(self.trace),
            "epoch": self.epoch,
            "point": life.point if life is not None and inside else "",
            "times": life.times if life is not None else 0,
        }
        self.pid = self.zygote.fork(order)

    def reach(self, point: str) -> bool:
        """The other side of a connection sees the service pass a point: whether that is its end."""
        self.passed[point] += 1
        if self.due is None or self.due.point != point or self.passed[point] < self.due.times:
            return False
        self.kill(point)
        return True

    def kill(self, point: str) -> None:
        """From outside."""
        self.due = None
        self.zygote.kill(self.pid)
        with self.trace.open("a") as file:
            file.write(json.dumps({"killed": point}) + "\n")

    async def say(self, saying: Saying, number: int) -> None:
        """Somebody writes."""
        world, chat_id = self.telegram.world, FIRST_PERSON + saying.person
        opening = f"q{number} de"
        texts = {
            "command": ["/help"],
            "question": [f"{opening} Paris ?"],
            "long answer": [f"{opening} Paris, longuement ?"],
            "long question": [f"{opening} ".ljust(LONG_QUESTION, "x"), "la suite"],
        }[saying.kind]
        for position, text in enumerate(texts):
            update = world.say(world.people[chat_id], text=text)
            answer = f"Réponse à {opening} :" if position == 0 and saying.kind != "command" else ""
            self.said.append(Said(str(update["update_id"]), chat_id, answer))
        self.telegram.delivery.announce()


async def perform(
    plan: Plan, servers: Servers, zygote: Zygote, folder: Path, environ: dict[str, str]
) -> Outcome:
    """Let it happen.

    Args:
        folder: what lies there at the end tells more.
        environ: the service's settings, as far as they are known before.
    """
    began, cpu, epoch = time.monotonic(), time.process_time(), time.time()
    async with AsyncExitStack() as stack:
        telegram = await stack.enter_async_context(
            telegram_server(clock=fast_clock(epoch), mangle=Mangler(plan))
        )
        core = await stack.enter_async_context(Core().listening())
        environ = environ | {"TELEGRAM_API_URL": telegram.url, "AI_API_URL": core.url}
        stage = Stage(plan, folder, zygote, telegram, core, environ, epoch)
        for person in {saying.person for saying in plan.sayings}:
            telegram.world.add_person(Person(FIRST_PERSON + person, "Anne", "fr"))
        meddler = telegram.api.meddle = Meddler(plan, stage.reach)
        if plan.webhook:
            telegram.delivery.taken = lambda _update: stage.reach("after the acknowledgement")
        database = Database(database_url(environ["DATABASE_URL"]))
        stack.push_async_callback(database.close)
        try:
            async with asyncio.TaskGroup() as tasks:
                living = tasks.create_task(_live(stage))
                tasks.create_task(_speak(stage))
                for outage in plan.outages:
                    tasks.create_task(_away(stage, servers, outage))
                tasks.create_task(_calm(meddler))
            del living
            await _until_quiet(stage, database)
            await _end(stage)
        finally:
            zygote.kill(stage.pid)
            stage.ends.append(await zygote.wait(stage.pid))
        verdict = await _judge(stage, database, meddler)
    _look_into_the_log(stage)
    killed = [line["killed"] for line in traced(stage.trace) if "killed" in line]
    return Outcome(
        plan.seed,
        [*stage.faults, *core.complaints, *verdict.faults],
        killed,
        len(stage.said),
        verdict.answered,
        verdict.ambiguous,
        verdict.cuts,
        len(stage.ends),
        [f"{outage.what} {outage.how}" for outage in plan.outages],
        round(time.monotonic() - began, 2),
        round(time.process_time() - cpu + sum(end.cpu for end in stage.ends), 2),
    )


def environ_of(plan: Plan, servers: Servers, folder: Path, port: int) -> dict[str, str]:
    """The service's settings, over servers that are up and databases that are empty."""
    environ = {
        "TELEGRAM_BOT_TOKEN": TOKEN,
        "TELEGRAM_PORT": str(port),
        "AI_API_KEY": KEY,
        "SECRET_KEY": SECRET,
        "DATABASE_URL": servers.database(plan, folder),
        "PTB_TIMEDELTA": "1",
    }
    if plan.webhook:
        environ |= {"WEBHOOK_URL": f"http://127.0.0.1:{port}", "WEBHOOK_SECRET": "of-the-chaos"}
    if plan.redis:
        environ |= {"REDIS_URL": servers.redis().url}
    return environ


async def _live(stage: Stage) -> None:
    random = Random(stage.plan.seed + 3)  # noqa: S311 - chance that can be repeated
    for life in stage.plan.lives:
        stage.start(life)
        try:
            async with asyncio.timeout(LONGEST_LIFE):
                if life.point == "during the drain":
                    await asyncio.sleep(random.uniform(2.0, 5.0))
                    stage.zygote.kill(stage.pid, signal.SIGTERM)
                await _ended(stage, life)
        except TimeoutError:
            stage.kill("anywhere")
            stage.ends.append(await stage.zygote.wait(stage.pid))
    stage.start(None)


async def _ended(stage: Stage, life: Life) -> None:
    """Until the process was killed; one that could not start is started again."""
    while True:
        end = await stage.zygote.wait(stage.pid)
        stage.ends.append(end)
        # Before it takes signals, it ends at once; and it may have drained before the kill.
        if end.status == -signal.SIGKILL or (
            life.point == "during the drain" and end.status in {0, -signal.SIGTERM}
        ):
            return
        if end.status != FOR_A_WHILE:
            stage.faults.append(f"the service ended with {end.status}")
            return
        await asyncio.sleep(1.0)
        stage.start(life)


async def _speak(stage: Stage) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number, saying in enumerate(stage.plan.sayings):
        await asyncio.sleep(max(0.0, began + saying.at - loop.time()))
        await stage.say(saying, number)


async def _away(stage: Stage, servers: Servers, outage: Outage) -> None:
    await asyncio.sleep(outage.at)
    await happen(outage, stage.plan, servers, stage.core, stage.folder)


async def _calm(meddler: Meddler) -> None:
    await asyncio.sleep(SPEAKING_SECONDS + 3.0)
    meddler.is_over = True


async def _until_quiet(stage: Stage, database: Database) -> None:
    """Until nothing is pending; a service that cannot stay is started again."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    keys = {said.key for said in stage.said}
    while asyncio.get_running_loop().time() < deadline:
        if stage.zygote.has_ended(stage.pid):
            end = await stage.zygote.wait(stage.pid)
            stage.ends.append(end)
            if end.status != FOR_A_WHILE:
                stage.faults.append(f"the service ended with {end.status}")
                return
            stage.start(None)
        stage.zygote.look()
        # What was held back to be overtaken is overtaken by now.
        stage.telegram.delivery.announce()
        try:
            async with database.reading() as connection:
                columns = tables.entries.c
                rows = (await connection.execute(select(columns.key, columns.closed_at))).all()
        except StorageUnavailable:
            rows = []
        if {row.key for row in rows if row.closed_at is not None} >= keys:
            return
        await asyncio.sleep(0.05 * FACTOR)
    stage.faults.append("it never became quiet")


async def _end(stage: Stage) -> None:
    """As an operator would end it."""
    stage.zygote.kill(stage.pid, signal.SIGTERM)
    try:
        async with asyncio.timeout(PATIENCE):
            end = await stage.zygote.wait(stage.pid)
    except TimeoutError:
        stage.faults.append("it did not end")
        return
    # One that has just been started may not take signals yet.
    if end.status not in {0, -signal.SIGTERM}:
        stage.faults.append(f"the service ended with {end.status}")


async def _judge(stage: Stage, database: Database, meddler: Meddler) -> Verdict:
    entries = await _entries(database)
    chats = {entry.id: int(entry.lane.rstrip("!").split(":")[0]) for entry in entries}
    cuts = Counter(meddler.cuts)
    sends = open_sends(traced(stage.trace))
    cuts.update(chats[entry] for entry in (*sends.under_way, *sends.in_doubt) if entry in chats)
    shown = [
        ShownRow(message.id, message.chat.id, message.versions[-1])
        for message in stage.telegram.world.messages.values()
        if message.sender is None and not message.deleted
    ]
    return judge(Facts(stage.said, entries, shown, cuts, in_order=not stage.plan.reordered))


async def _entries(database: Database) -> list[EntryRow]:
    envelopes = Envelopes(seal_for("telegram", SECRET))
    async with database.reading() as connection:
        entries = (await connection.execute(select(tables.entries).order_by(tables.entries.c.id))).all()
        order = (tables.parts.c.entry_id, tables.parts.c.number)
        parts = (await connection.execute(select(tables.parts).order_by(*order))).all()
    return [
        EntryRow(
            entry.id,
            entry.key,
            entry.lane,
            entry.state,
            entry.reason,
            [
                PartRow(
                    part.state,
                    envelopes.open_answer(part.content).message.text if part.content else "",
                    part.external_id,
                )
                for part in parts
                if part.entry_id == entry.id
            ],
        )
        for entry in entries
    ]


def _look_into_the_log(stage: Stage) -> None:
    """What the service did not expect is a fault, even where everybody was answered."""
    log = stage.folder / "service.log"
    for line in log.read_text(errors="replace").splitlines() if log.exists() else []:
        told = json.loads(line) if line.startswith("{") else {"level": "error"}
        # asyncpg does not look at the end of a connection that it has given up already.
        if told["level"] == "error" and "connection_lost" not in line:
            stage.faults.append(f"in the log: {line[:2000]}")
