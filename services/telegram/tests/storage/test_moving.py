"""All that is kept goes to another database; people and what they said go out and come in as JSON Lines."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event, select

from servicekit.journal.journal import Journal
from servicekit.storage import transfer
from servicekit.storage.database import Database, database_url
from servicekit.storage.migrating import upgrade
from servicekit.storage.sealing import SecretSeal
from servicekit.storage.transfer import read_all, write_all
from telegram_service.__main__ import command
from telegram_service.answering.envelopes import Envelopes
from telegram_service.cli.office import Office, open_office
from telegram_service.config import Settings
from telegram_service.dialogue.history import Turn
from telegram_service.dialogue.incoming import Language
from telegram_service.dialogue.settings import Creativity, Length, UserSettings
from telegram_service.storage.broadcasts import Broadcasts
from telegram_service.storage.conversations import Conversations
from telegram_service.storage.migrations import SCHEMA
from telegram_service.storage.tables import journal as journal_tables
from telegram_service.storage.tables import metadata, turns
from telegram_service.storage.transfer import TelegramRecords

ANNE, BOB = 42, 6_000_000_000
NOW = datetime.now(UTC)
SEAL = SecretSeal(b"a-secret-of-the-tests", "telegram")


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine where the service has run with its defaults."""
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "TELEGRAM_DATABASE_URL", "SECRET_KEY_OLD", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", "7000000:token")
    monkeypatch.setenv("SECRET_KEY", "a-secret-of-the-tests")
    return tmp_path


def typed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit status, and what was printed and complained of."""
    capsys.readouterr()
    status = command(["database", *words])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return status, out, err


async def life(office: Office) -> None:
    """Something of everything that the service keeps."""
    journal = Journal(office.database, journal_tables)
    envelopes = Envelopes(SEAL)
    for person in (ANNE, BOB):
        await office.people.meet(person)
        for number in range(3):
            turn = Turn(f"question {number} ✓ \x00", f"réponse {number}", "a document" if number else "")
            await office.personal_data.conversations.add(f"{person}:7", person, person + number, turn, 1)
            await journal.receive(f"{person} {number}", f"{person}:7", envelopes.close_update({"n": number}))
    await office.people.save(ANNE, UserSettings("petit", Language.ENGLISH, Length.LONG, Creativity.PRECISE))
    await office.people.ban(BOB, banned=True)
    held = await journal.hold(f"{BOB}:7")
    assert held is not None
    await held.bury((await held.pending())[0], "it was tried too often")
    await held.release()
    broadcasts = Broadcasts(office.database, lambda: NOW)
    number = await broadcasts.draft("key", ANNE, Language.FRENCH, SEAL.close(b"to all", "answer"))
    await broadcasts.start(number, ANNE, ())


async def seen(office: Office) -> dict[str, Any]:
    """The same through the ports of the storage."""
    conversations, ledger = office.personal_data.conversations, office.ledger
    lanes = [f"{ANNE}:7", f"{BOB}:7"]
    return {
        "people": await office.people.listed(),
        "conversations": [await conversations.recent(lane, 50) for lane in lanes],
        "exports": [json.loads(await office.personal_data.export(one) or b"") for one in (ANNE, BOB)],
        "entries": await ledger.history(lanes, after=0, limit=99),
        "dead": await ledger.dead_letters(99),
        "broadcast": await Broadcasts(office.database, lambda: NOW).current(),
    }


async def rows(database: Database) -> dict[str, Any]:
    async with database.reading() as connection:
        return {
            table.name: [
                tuple(row) for row in await connection.execute(select(table).order_by(*table.primary_key))
            ]
            for table in metadata.sorted_tables
        }


async def in_office(do: Any) -> Any:
    async with open_office(Settings.load(os.environ)) as office:
        return await do(office)


def test_the_embedded_database_goes_to_postgresql(
    capsys: pytest.CaptureFixture[str], postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(in_office(life))
    before, raw = asyncio.run(in_office(seen)), asyncio.run(in_office(lambda office: rows(office.database)))
    monkeypatch.setenv("TELEGRAM_DATABASE_URL", postgres_url)
    status, out, err = typed(capsys, "copy")
    assert (status, err) == (0, "")
    assert ["turns", "6"] in [line.split() for line in out.splitlines()]
    # To the byte: what is sealed stays so.
    copied = asyncio.run(in_office(lambda office: rows(office.database)))
    times = ("conversations", "lanes")
    assert {name: copied[name] for name in copied if name not in times} == {
        name: raw[name] for name in raw if name not in times
    }
    assert asyncio.run(in_office(seen)) == before

    async def goes_on(office: Office) -> int | None:
        number = await Journal(office.database, journal_tables).receive("a new one", f"{ANNE}:7", b"")
        assert number is not None
        return number

    asyncio.run(in_office(goes_on))
    newest = asyncio.run(in_office(lambda office: office.ledger.history([f"{ANNE}:7"], after=0, limit=99)))
    # Above every number that anything in the copy goes by.
    place = list(metadata.tables["turns"].columns.keys()).index("entry_id")
    given = {*(entry.id for entry in before["entries"]), *(turn[place] for turn in raw["turns"])}
    assert [entry.id for entry in newest][-1] == max(given) + 1
    status, _, err = typed(capsys, "copy")
    assert (status, "not empty" in err) == (1, True)


def test_what_cannot_be_copied_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert typed(capsys, "copy")[0] == 2
    assert not Path("var/telegram.db").exists()
    asyncio.run(in_office(life))
    status, _, err = typed(capsys, "copy")
    assert (status, "the same database" in err) == (2, True)
    status, _, err = typed(capsys, "copy", "--to", "postgresql://u@127.0.0.1:1/nothing")
    assert (status, "TELEGRAM_DATABASE_URL" in err) == (1, True)


# --- import and export ---

WORDS = {"kind": "turn", "chat": "42", "user": ANNE, "question": "?", "answer": "!"}
LINES = [
    {"kind": "user", "id": ANNE, "last_seen": NOW.isoformat(), "settings": {"language": "fr"}},
    {"kind": "user", "id": BOB, "last_seen": NOW.isoformat(), "banned": True},
    *(
        WORDS | {"at": (NOW - timedelta(minutes=9 - number)).isoformat(), "question": f"question {number}"}
        for number in range(3)
    ),
]


def file_of(lines: list[Any]) -> str:
    Path("records.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return "records.jsonl"


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/other.db"
    address = url if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))
    monkeypatch.setenv("TELEGRAM_DATABASE_URL", address)
    return address


@pytest.mark.usefixtures("address")
def test_people_and_what_they_said_come_in_and_their_conversation_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = file_of(LINES)
    status, out, _ = typed(capsys, "import", file, "--dry-run")
    assert (status, "dry run" in out) == (0, True)
    assert asyncio.run(in_office(lambda office: office.people.count())) == 0
    status, out, _ = typed(capsys, "import", file)
    table = [line.split() for line in out.splitlines()]
    assert (status, table[1:]) == (0, [["user", "2", "2", "0", "0"], ["turn", "3", "3", "0", "0"]])

    async def look(office: Office) -> Any:
        conversation = await office.personal_data.conversations.recent("42", 50)
        await office.personal_data.conversations.add("42", ANNE, 1, Turn("now", "then"), conversation.number)
        again = await office.personal_data.conversations.recent("42", 50)
        return [one.turn.question for one in again.turns], await office.people.get(BOB)

    questions, bob = asyncio.run(in_office(look))
    assert questions == ["question 0", "question 1", "question 2", "now"]
    assert bob.person.banned
    before = asyncio.run(in_office(lambda office: rows(office.database)))
    status, out, _ = typed(capsys, "import", file)
    assert [line.split()[2:] for line in out.splitlines()][1:] == [["0", "2", "0"], ["0", "3", "0"]]
    assert asyncio.run(in_office(lambda office: rows(office.database))) == before
    # With the keys of the service's own turns, they are sealed anew, too.
    monkeypatch.setenv("SECRET_KEY", "another-secret-of-the-tests")
    monkeypatch.setenv("SECRET_KEY_OLD", "a-secret-of-the-tests")
    assert command(["rotate-key"]) == 0
    assert capsys.readouterr().out.startswith("8 texts sealed anew")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"kind": "user", "id": 0, "last_seen": NOW.isoformat()}, ">= 1"),
        ({"kind": "user", "id": 5, "last_seen": "2026-03-01T12:00:00"}, "timezone"),
        ({"kind": "user", "id": 5, "last_seen": "0001-01-01T00:00:00+14:00"}, "between 1970"),
        ({"kind": "user", "id": 5, "last_seen": NOW.isoformat(), "nickname": "x"}, "nickname"),
        ({"kind": "user", "id": 5}, "last_seen"),
        ({"kind": "animal"}, "kind"),
        ([1], "object"),
        (WORDS | {"user": 7, "at": NOW.isoformat()}, "their line has to come first"),
        (WORDS | {"chat": "../42", "at": NOW.isoformat()}, "chat"),
        (WORDS | {"chat": "42\n", "at": NOW.isoformat()}, "chat"),
        ({"kind": "user", "id": 5, "\x1b[2J": 1}, "field `?[2J`"),
        (WORDS | {"question": None, "at": NOW.isoformat()}, "question"),
    ],
)
def test_a_line_that_cannot_be_taken_is_named_and_the_others_are_taken(
    capsys: pytest.CaptureFixture[str], line: Any, reason: str
) -> None:
    status, out, err = typed(capsys, "import", file_of([LINES[0], line, LINES[1]]))
    assert status == 1
    assert err.startswith("line 2: ")
    assert reason in err
    assert [row.split()[-1] for row in out.splitlines()].count("1") == 1
    assert asyncio.run(in_office(lambda office: office.people.count())) == 2


def test_what_is_no_json_or_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    Path("records.jsonl").write_bytes(b'{"kind":\n\xff\xfe\n\n' + json.dumps(LINES[0]).encode())
    status, _, err = typed(capsys, "import", "records.jsonl")
    assert (status, [line[:7] for line in err.splitlines()]) == (1, ["line 1:", "line 2:"])
    assert typed(capsys, "import", "nothing.jsonl")[0] == 1


def test_an_export_is_readable_for_its_owner_only_and_written_over_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(capsys, "import", file_of(LINES))
    assert typed(capsys, "export", "--output", "all.jsonl")[0] == 0
    assert Path("all.jsonl").stat().st_mode & 0o777 == 0o600
    assert typed(capsys, "export", "--output", "all.jsonl")[0] == 1
    assert len(typed(capsys, "export")[1].splitlines()) == len(LINES) + 1
    monkeypatch.setenv("SECRET_KEY", "another-secret-of-the-tests")
    status, out, err = typed(capsys, "export")
    assert (status, len(out.splitlines()), "3 records cannot be read" in err) == (1, 3, True)


texts = st.text(max_size=30)
moments = st.timedeltas(timedelta(days=-9_000), timedelta(days=9_000)).map(
    lambda some: (NOW + some).astimezone(timezone(timedelta(hours=5, minutes=30)))
) | st.just(NOW)
ids = st.integers(1, 4) | st.integers(1, 2**52 - 1)
chosen = st.fixed_dictionaries(
    {},
    optional={
        "model": st.text(min_size=1, max_size=200),
        "language": st.sampled_from([one.value for one in Language]),
        "length": st.sampled_from([one.value for one in Length]),
        "creativity": st.sampled_from([one.value for one in Creativity]),
        "streaming": st.booleans(),
    },
)
chats = st.sampled_from(["1", "2", "-100123", "-100123:4"])
users = st.fixed_dictionaries(
    {"kind": st.just("user"), "id": ids, "last_seen": moments},
    optional={
        "settings": chosen,
        "banned": st.booleans(),
        "reachable": st.booleans(),
        "first_seen": moments,
    },
)
states = st.fixed_dictionaries(
    {"kind": st.just("chat"), "chat": chats, "conversation": st.integers(0, 9), "last_used": moments}
)
said = st.fixed_dictionaries(
    {"kind": st.just("turn"), "chat": chats, "user": ids, "at": moments, "question": texts, "answer": texts},
    optional={"document": texts, "conversation": st.integers(0, 9)},
)


@pytest.fixture(scope="module")
def empty() -> Iterator[Path]:
    """A database without anything, to be copied for each example."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.db"

        async def make() -> None:
            database = Database(database_url(f"sqlite:///{path}"))
            await upgrade(database, SCHEMA)
            await database.scrub()
            await database.close()

        asyncio.run(make())
        yield path


async def imported(lines: list[bytes], path: Path) -> tuple[bytes, list[int]]:
    """An export of what was imported twice, and how much each time was new."""
    database, news = Database(database_url(f"sqlite:///{path}")), []
    for _ in range(2):
        report = await read_all(iter(lines), database, TelegramRecords(SEAL))
        news.append(sum(kind.new for kind in report.kinds.values()))
    exported = io.BytesIO()
    assert await write_all(exported, database, TelegramRecords(SEAL)) == 0
    await database.close()
    return exported.getvalue(), news


@settings(max_examples=25)
@given(people=st.lists(users, max_size=4), rest=st.lists(states | said, max_size=8))
def test_what_was_imported_is_exported_and_imported_elsewhere_as_the_same(
    empty: Path, people: list[Any], rest: list[Any]
) -> None:
    lines = [msgspec.json.encode(one) for one in [*people, *rest]]
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder) / "first.db", Path(folder) / "second.db"
        for path in (first, second):
            shutil.copy(empty, path)
        exported, (news, nothing) = asyncio.run(imported(lines, first))
        assert nothing == 0
        # Where nobody said in which conversation a chat is, that is written down, too.
        assert len(exported.splitlines()) >= news
        again, (count, _) = asyncio.run(imported(exported.splitlines(), second))
        assert count == len(exported.splitlines())
        assert again == exported
    known = {one["id"]: one for one in reversed(people)}
    out = [json.loads(line) for line in exported.splitlines()]
    assert {one["id"] for one in out if one["kind"] == "user"} == set(known)
    there = {
        (
            one["chat"],
            one["user"],
            one["at"].astimezone(UTC),
            one["question"],
            one["answer"],
            one.get("document", ""),
        )
        for one in rest
        if one["kind"] == "turn" and one["user"] in known
    }
    assert there == {
        (
            *(one["chat"], one["user"], datetime.fromisoformat(one["at"])),
            *(one["question"], one["answer"], one.get("document", "")),
        )
        for one in out
        if one["kind"] == "turn"
    }


async def test_many_of_one_moment_stay_in_their_order(
    empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "MOST_OF_A_MOMENT", 30)
    shutil.copy(empty, tmp_path / "many.db")
    same = [WORDS | {"at": NOW.isoformat(), "question": f"{number:02}"} for number in range(33)]
    lines = [json.dumps(one).encode() for one in [LINES[0], *same]]
    database = Database(database_url(f"sqlite:///{tmp_path}/many.db"))
    report = await read_all(iter(lines), database, TelegramRecords(SEAL))
    assert report.kinds["turn"].new == 30
    reason = "more than 30 records have nearly the same time"
    assert {refusal.reason for refusal in report.refusals} == {reason}
    conversations = Conversations(database, SEAL, lambda: NOW, session_timeout=timedelta(hours=1))
    found = await conversations.recent("42", 50)
    assert [one.turn.question for one in found.turns] == [f"{number:02}" for number in range(30)]
    assert all(one.entry_id < 0 for one in found.turns)
    await database.close()


@pytest.mark.parametrize("earlier", [timedelta(microseconds=number) for number in (1, 29, 30, 31)])
async def test_one_finds_room_shortly_before_others(
    empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, earlier: timedelta
) -> None:
    monkeypatch.setattr(transfer, "MOST_OF_A_MOMENT", 30)
    shutil.copy(empty, tmp_path / "near.db")
    before = (NOW - earlier).isoformat()
    said = [
        WORDS | {"at": NOW.isoformat(), "question": "last"},
        WORDS | {"at": before, "question": "first"},
        WORDS | {"at": before, "question": "second"},
    ]
    lines = [json.dumps(one).encode() for one in [LINES[0], *said]]
    database = Database(database_url(f"sqlite:///{tmp_path}/near.db"))
    report = await read_all(iter(lines), database, TelegramRecords(SEAL))
    assert (report.refused, report.kinds["turn"].new) == (0, 3)
    async with database.reading() as connection:
        taken = (await connection.execute(select(turns.c.entry_id))).scalars().all()
    assert len(set(taken)) == 3
    await database.close()


async def test_a_turn_is_looked_for_by_an_index_however_long_its_chat_is(empty: Path, tmp_path: Path) -> None:
    shutil.copy(empty, tmp_path / "long.db")
    database = Database(database_url(f"sqlite:///{tmp_path}/long.db"))
    asked: list[Any] = []
    engine = database._engine.sync_engine
    event.listen(engine, "before_cursor_execute", lambda *given: asked.append((given[2], given[3])))
    lines = [json.dumps(one).encode() for one in LINES]
    await read_all(iter(lines), database, TelegramRecords(SEAL))
    (looks, *_) = [one for one in asked if one[0].startswith("SELECT turns.entry_id, turns.lane")]
    async with database.reading() as connection:
        plan = (await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {looks[0]}", looks[1])).all()
    assert "ix_turns_at (lane=? AND at=?)" in str(plan)
    await database.close()
