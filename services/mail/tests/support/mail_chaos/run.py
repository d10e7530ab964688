"""One run: the servers around the service, its lives, what people write, and what became of it."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import select

from chaos.fast_time import FACTOR
from chaos.forks import End, Zygote
from chaos.mishaps import Life, Outage
from chaos.outages import Servers, happen
from chaos.points import open_sends, traced
from chaos.zygote import FOR_A_WHILE
from fault_proxy import END, Act, ImapProxy, Script, SmtpProxy
from mail_chaos.books import Books
from mail_chaos.core import KEY, MailCore
from mail_chaos.office import Office
from mail_chaos.people import People
from mail_chaos.plan import INSIDE, LONGEST_LIFE, OUTSIDE, TROUBLE_SECONDS, Plan
from mail_chaos.verdict import Facts, judge
from mail_servers import PASSWORD, somebody
from mail_service.storage.tables import journal as tables
from servicekit.storage.database import Database, StorageUnavailable, database_url

SECRET = "the secret of the chaos"
PATIENCE = 900.0
"""Seconds of a run after which nobody waits for quiet any longer."""
OPEN_ENDS = {Act.LOSE_REPLY, Act.SILENCE, Act.RESET, Act.CUT_INSIDE}


@dataclass
class Outcome:
    """What is kept of a run."""

    seed: int
    faults: Sequence[str]
    points: Sequence[str]
    """Where the process was killed, in order."""
    happened: Sequence[str]
    """Outages and faults of the mail servers."""
    mails: int
    answered: int
    again: int
    cuts: int
    starts: int
    seconds: float
    cpu: float


@dataclass
class Stage:
    """Everything that a run moves."""

    plan: Plan
    folder: Path
    zygote: Zygote
    office: Office
    people: People
    core: MailCore
    environ: dict[str, str]
    epoch: float
    faults: list[str] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)
    pid: int = 0
    due: Life | None = None
    """What comes to an end outside."""
    passed: Counter[str] = field(default_factory=Counter)
    calm: bool = False

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

    def reach(self, command: str) -> None:
        """A server sees a command of the service, which may be its last."""
        if self.due is None or OUTSIDE[self.due.point] != command:
            return
        self.passed[command] += 1
        if self.passed[command] == self.due.times:
            self.kill(self.due.point)

    def kill(self, point: str) -> None:
        """From outside."""
        self.due = None
        self.zygote.kill(self.pid)
        with self.trace.open("a") as file:
            file.write(json.dumps({"killed": point}) + "\n")


async def perform(
    plan: Plan, servers: Servers, zygote: Zygote, office: Office, folder: Path, environ: dict[str, str]
) -> Outcome:
    """Let it happen.

    Args:
        folder: what lies there at the end tells more.
        environ: the service's settings, as far as they are known before.
    """
    began, cpu, epoch = time.monotonic(), time.process_time(), time.time()
    mailbox = somebody("example.test")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(office.certificates.server, office.certificates.key)
    async with AsyncExitStack() as stack:
        core = MailCore()
        await stack.enter_async_context(core.listening())
        imap = await stack.enter_async_context(ImapProxy(office.dovecot.port, tls=tls))
        smtp = await stack.enter_async_context(SmtpProxy(office.postfix.port, starttls=tls))
        environ = environ | {
            "EMAIL_ADDRESS": mailbox,
            "IMAP_PORT": str(imap.port),
            "SMTP_PORT": str(smtp.port),
            "AI_API_URL": core.url,
        }
        stage = Stage(plan, folder, zygote, office, People(mailbox), core, environ, epoch)
        imap.on_command = smtp.on_command = stage.reach
        imap.script_of, smtp.script_of = _scripts(stage)
        database = Database(database_url(environ["DATABASE_URL"]))
        stack.push_async_callback(database.close)
        try:
            async with asyncio.TaskGroup() as tasks:
                for work in (_live(stage), _write(stage), _calm(stage), *_mishaps(stage, servers)):
                    tasks.create_task(work)
            await _until_quiet(stage, database)
            await _end(stage)
        finally:
            zygote.kill(stage.pid)
            stage.ends.append(await zygote.wait(stage.pid))
        books = Books(database, SECRET)
        sends = open_sends(traced(stage.trace))
        facts = Facts(
            written=stage.people.written,
            entries=await books.entries(),
            taken=smtp.taken,
            received=await office.received(stage.people.addresses, smtp.taken.total()),
            copies=await office.copies(mailbox),
            lost_replies=smtp.cuts,
            open_ends=sum(fault.at == END and fault.act in OPEN_ENDS for fault in smtp.hit),
            killed_sending=len(sends.under_way),
            in_doubt=len(sends.in_doubt),
            refusals=sum(fault.reply.startswith("5") for fault in smtp.hit),
        )
        verdict = judge(facts)
        happened = [f"imap {fault.at} {fault.act.name}" for fault in imap.hit]
        happened += [f"smtp {fault.at} {fault.act.name} {fault.reply[:3]}".strip() for fault in smtp.hit]
    _look_into_the_log(stage)
    happened += [f"{outage.what} {outage.how}" for outage in plan.outages]
    happened += ["folder numbered anew"] * len(plan.numbered_anew)
    return Outcome(
        plan.seed,
        [*stage.faults, *core.complaints, *verdict.faults],
        [line["killed"] for line in traced(stage.trace) if "killed" in line],
        happened,
        len(stage.people.written),
        verdict.answered,
        verdict.again,
        verdict.cuts,
        len(stage.ends),
        round(time.monotonic() - began, 2),
        round(time.process_time() - cpu + sum(end.cpu for end in stage.ends), 2),
    )


def environ_of(plan: Plan, servers: Servers, office: Office, folder: Path) -> dict[str, str]:
    """The service's settings, over servers that are up and databases that are empty."""
    environ = {
        "EMAIL_PASSWORD": PASSWORD,
        "IMAP_HOST": "localhost",
        "CA_FILE": str(office.certificates.authority),
        "AI_API_KEY": KEY,
        "DATABASE_URL": servers.database(plan, folder),
        "SECRET_KEY": SECRET,
        "MAIL_PORT": "0",
        "AUTHSERV_ID": "mx.example.test",
        "MAX_EMAILS_PER_HOUR": "1000",
        "MAX_SENDER_EMAILS_PER_HOUR": "1000",
    }
    if plan.redis:
        environ["REDIS_URL"] = servers.redis().url
    return environ


def _scripts(stage: Stage) -> tuple[Callable[[int], Script], Callable[[int], Script]]:
    def imap(number: int) -> Script:
        return Script() if stage.calm else stage.plan.imap_script(number)

    def smtp(number: int) -> Script:
        return Script() if stage.calm else stage.plan.smtp_script(number)

    return imap, smtp


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


async def _write(stage: Stage) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    for writing in stage.plan.writings:
        await asyncio.sleep(max(0.0, began + writing.at - loop.time()))
        mail = stage.people.write(writing.person, goes_on=writing.goes_on)
        await asyncio.to_thread(stage.office.dovecot.deliver, stage.people.mailbox, mail)


async def _calm(stage: Stage) -> None:
    await asyncio.sleep(TROUBLE_SECONDS)
    stage.calm = True


def _mishaps(stage: Stage, servers: Servers) -> list[Any]:
    async def away(outage: Outage) -> None:
        await asyncio.sleep(outage.at)
        await happen(outage, stage.plan, servers, stage.core, stage.folder)

    async def number_anew(at: float) -> None:
        await asyncio.sleep(at)
        await asyncio.to_thread(stage.office.dovecot.number_anew, stage.people.mailbox)

    return [*map(away, stage.plan.outages), *map(number_anew, stage.plan.numbered_anew)]


async def _until_quiet(stage: Stage, database: Database) -> None:
    """Until all is closed; a service that cannot stay is started again."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while asyncio.get_running_loop().time() < deadline:
        if stage.zygote.has_ended(stage.pid):
            end = await stage.zygote.wait(stage.pid)
            stage.ends.append(end)
            if end.status != FOR_A_WHILE:
                stage.faults.append(f"the service ended with {end.status}")
                return
            stage.start(None)
        stage.zygote.look()
        try:
            async with database.reading() as connection:
                rows = (await connection.execute(select(tables.entries.c.closed_at))).all()
        except StorageUnavailable:
            rows = []
        if len(rows) >= len(stage.people.written) and all(row.closed_at is not None for row in rows):
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


def _look_into_the_log(stage: Stage) -> None:
    """What the service did not expect is a fault, even where everybody was answered."""
    log = stage.folder / "service.log"
    for line in log.read_text(errors="replace").splitlines() if log.exists() else []:
        if "Traceback" in line or '"level": "error"' in line or '"level":"error"' in line:
            stage.faults.append(f"in the log: {line[:2000]}")
