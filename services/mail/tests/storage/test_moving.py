"""All that is kept goes to another database; letters and their answers go out and come in as JSON Lines."""

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
from sqlalchemy import select

from mail_service.cli import command
from mail_service.config import Settings
from mail_service.mailbox.port import Cursor
from mail_service.records import Records, migrate, open_records
from mail_service.storage.migrations import SCHEMA
from mail_service.storage.names import load_names
from mail_service.storage.tables import metadata
from mail_service.storage.transfer import MailRecords
from mail_service.storage.ways import Step
from mail_store import ANNE, BOB, written
from servicekit.storage.database import Database, database_url
from servicekit.storage.migrating import upgrade
from servicekit.storage.sealing import SecretSeal
from servicekit.storage.transfer import read_all, write_all

NOW = datetime.now(UTC)
SECRET = "a-secret-of-the-tests"
SEAL = SecretSeal(SECRET.encode(), "mail")
US = "neo@example.org"


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine where the service has run with its defaults."""
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "MAIL_DATABASE_URL", "SECRET_KEY_OLD", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SECRET_KEY", SECRET)


def typed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit status, and what was printed and complained of."""
    capsys.readouterr()
    status = command(["database", *words])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return status, out, err


async def in_records(do: Any) -> Any:
    settings = Settings.load(os.environ)
    await migrate(settings)
    async with open_records(settings) as records:
        return await do(records)


async def life(records: Records) -> None:
    """Something of everything that the service keeps."""
    for person, text in ((ANNE, "a question \x00 ✓"), (BOB, "another one")):
        thread = records.names.thread(US, person, f"<1-{person}>")
        async with records.database.writing() as connection:
            number = await records.journal.store(connection, f"key of {person}", thread, b"\x01 sealed")
            assert number == (1 if person == ANNE else 2)
            letter = written(f"<1-{person}>", person, text)
            await records.correspondence.came_in(connection, number, thread, letter)
            await records.ways.add_within(connection, number, Step.RECEIVED, "why", [("rule", "outcome")])
            await records.cursors.advance(connection, f"folder {person}", Cursor(7, number))
        await records.allowances.ask(number, records.names.person(person), shared=False)
    async with records.database.writing() as connection:
        await records.correspondence.answered(connection, 2, written("<a@us>", BOB, "an answer"))
    await records.switches.pause()


async def seen(records: Records) -> dict[str, Any]:
    """The same through the ports of the storage."""
    threads = [records.names.thread(US, person, f"<1-{person}>") for person in (ANNE, BOB)]
    return {
        "exports": [await records.keeper.export(person) for person in (ANNE, BOB)],
        "known": await records.correspondence.known([f"<1-{ANNE}>", "<a@us>"]),
        "entries": await records.ledger.history(threads, after=0, limit=99),
        "queue": await records.ways.queue(),
        "ways": [await records.ways.of(number) for number in (1, 2)],
        "cursor": await records.cursors.get(f"folder {BOB}"),
        "paused": await records.switches.paused_since(),
    }


async def rows(database: Database) -> dict[str, Any]:
    async with database.reading() as connection:
        return {
            table.name: [
                tuple(row) for row in await connection.execute(select(table).order_by(*table.primary_key))
            ]
            for table in metadata.sorted_tables
        }


def test_the_embedded_database_goes_to_postgresql(
    capsys: pytest.CaptureFixture[str], postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(in_records(life))
    before, raw = asyncio.run(in_records(seen)), asyncio.run(in_records(lambda opened: rows(opened.database)))
    status, out, err = typed(capsys, "copy", "--to", postgres_url)
    assert (status, err) == (0, "")
    assert ["letters", "3"] in [line.split() for line in out.splitlines()]
    monkeypatch.setenv("MAIL_DATABASE_URL", postgres_url)
    # To the byte: what is sealed stays so, and names that were made with the database's own key are found.
    assert asyncio.run(in_records(lambda opened: rows(opened.database))) == raw
    assert asyncio.run(in_records(seen)) == before

    async def goes_on(records: Records) -> int | None:
        number = await records.journal.receive("a new one", "lane", b"")
        assert number is not None
        return number

    async def newest(records: Records) -> int:
        return (await records.ledger.history(["lane"], after=0, limit=9))[0].id

    asyncio.run(in_records(goes_on))
    assert asyncio.run(in_records(newest)) == 3
    assert typed(capsys, "copy")[0] == 1
    # And back again.
    back = "sqlite:///back.db"
    assert typed(capsys, "copy", "--from", postgres_url, "--to", back)[0] == 0
    monkeypatch.setenv("MAIL_DATABASE_URL", back)
    assert asyncio.run(in_records(lambda opened: rows(opened.database)))["letters"] == raw["letters"]


# --- import and export ---

LETTER = {
    "kind": "letter",
    "account": US,
    "address": ANNE,
    "message_id": "<1@old>",
    "at": (NOW - timedelta(hours=2)).isoformat(),
    "subject": "Un préavis",
    "text": "Bonjour, combien ?",
    "answer": {"message_id": "<2@old>", "at": NOW.isoformat(), "text": "Deux mois."},
}
LINES = [
    LETTER,
    LETTER | {"message_id": "<3@old>", "references": ["<1@old>", "<2@old>"], "text": "Merci !"},
    LETTER | {"message_id": "<4@old>", "address": BOB, "answer": None},
]


def file_of(lines: list[Any]) -> str:
    Path("records.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return "records.jsonl"


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/other.db"
    address = url if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))
    monkeypatch.setenv("MAIL_DATABASE_URL", address)
    return address


@pytest.mark.usefixtures("address")
def test_letters_come_in_and_their_thread_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    file = file_of(LINES)
    status, out, _ = typed(capsys, "import", file, "--dry-run")
    assert (status, "dry run" in out) == (0, True)
    status, out, _ = typed(capsys, "import", file)
    assert (status, out.splitlines()[1].split()) == (0, ["letter", "3", "3", "0", "0"])

    async def goes_on(records: Records) -> list[str]:
        """Anne answers the second answer now."""
        known = await records.correspondence.known(["<3@old>"])
        thread, person = known["<3@old>"].thread, records.names.person(ANNE)
        assert known["<3@old>"].persons == {person}
        async with records.database.writing() as connection:
            number = await records.journal.store(connection, "key", thread, b"")
            assert number is not None
            await records.correspondence.came_in(connection, number, thread, written("<5@new>", ANNE, "?"))
        before = await records.correspondence.before(number, thread, person, 9)
        return [one.written.text for one in before]

    texts = ["Bonjour, combien ?", "Deux mois.", "Merci !", "Deux mois."]
    assert asyncio.run(in_records(goes_on)) == texts
    exported = asyncio.run(in_records(lambda records: records.keeper.export(BOB)))
    assert [mail["message_id"] for mail in json.loads(exported)["mails"]] == ["<4@old>"]
    before = asyncio.run(in_records(lambda opened: rows(opened.database)))
    status, out, _ = typed(capsys, "import", file)
    assert (status, out.splitlines()[1].split()) == (0, ["letter", "3", "0", "3", "0"])
    assert asyncio.run(in_records(lambda opened: rows(opened.database))) == before
    # Whoever wants to be forgotten is, whatever was imported of them.
    assert asyncio.run(in_records(lambda records: records.keeper.forget(ANNE))) == 5
    assert len(typed(capsys, "export")[1].splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"address": "nobody"}, "$.address"),
        ({"account": None}, "$.account"),
        ({"message_id": ""}, "message_id"),
        ({"at": "yesterday"}, "$.at"),
        ({"thread": "t"}, "thread"),
        ({"thread": "a" * 64 + "\n"}, "thread"),
        ({"color": "red"}, "color"),
        ({"answer": {"text": "?"}}, "message_id"),
    ],
)
def test_a_letter_that_cannot_be_taken_is_named(
    capsys: pytest.CaptureFixture[str], change: Any, reason: str
) -> None:
    status, _, err = typed(capsys, "import", file_of([LETTER | change, LINES[2]]))
    assert (status, err.startswith("line 1: "), reason in err) == (1, True, True)
    assert len(typed(capsys, "export")[1].splitlines()) == 1


def test_an_export_leaves_out_what_it_cannot_read(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(capsys, "import", file_of(LINES))
    monkeypatch.setenv("SECRET_KEY", "another-secret-of-the-tests")
    status, _, err = typed(capsys, "export")
    assert (status, "SECRET_KEY" in err) == (2, True)


texts = st.text(max_size=30)
ids = st.text("abc@<>é", min_size=1, max_size=4)
moments = st.timedeltas(timedelta(days=-9_000), timedelta(days=9_000)).map(
    lambda some: (NOW + some).astimezone(timezone(timedelta(hours=-4)))
) | st.just(NOW)
addresses = st.sampled_from([ANNE, BOB, "carl@example.net"])
shared = {
    "name": texts,
    "subject": texts,
    "references": st.lists(ids, max_size=3),
    "date": moments,
    "essence": texts,
}
answers = st.fixed_dictionaries(
    {"message_id": ids, "at": moments, "text": texts}, optional=shared | {"to": addresses}
)
letters = st.fixed_dictionaries(
    {
        "kind": st.just("letter"),
        "address": addresses,
        "account": st.just(US),
        "message_id": ids,
        "at": moments,
        "text": texts,
    },
    optional=shared
    | {
        "answer": st.none() | answers,
        "shown": st.none() | st.booleans(),
        "thread": st.none() | st.text("0123456789abcdef", min_size=64, max_size=64),
    },
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
    records = MailRecords(SEAL, await load_names(database, SEAL))
    for _ in range(2):
        report = await read_all(iter(lines), database, records)
        assert report.refusals == []
        news.append(report.kinds["letter"].new if lines else 0)
    exported = io.BytesIO()
    assert await write_all(exported, database, records) == 0
    await database.close()
    return exported.getvalue(), news


@settings(max_examples=25)
@given(st.lists(letters, max_size=6))
def test_what_was_imported_is_exported_and_imported_elsewhere_as_the_same(
    empty: Path, some: list[Any]
) -> None:
    lines = [msgspec.json.encode(one) for one in some]
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder) / "first.db", Path(folder) / "second.db"
        for path in (first, second):
            shutil.copy(empty, path)
        exported, news = asyncio.run(imported(lines, first))
        assert news == [len(exported.splitlines()), 0]
        # The other database names people and threads with another key, and threads stay together.
        again, _ = asyncio.run(imported(exported.splitlines(), second))
        assert again == exported
    out = [json.loads(line) for line in exported.splitlines()]
    assert {(one["message_id"], one["address"]) for one in out} == {
        (one["message_id"], one["address"]) for one in some
    }
    words = {(one["message_id"], one["text"], (one.get("answer") or {}).get("text")) for one in some}
    assert {(one["message_id"], one["text"], one.get("answer", {}).get("text")) for one in out} <= words
