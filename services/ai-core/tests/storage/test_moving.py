"""All that is kept goes to another database; keys and what they used go out and come in as JSON Lines."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from ai_core.__main__ import command
from ai_core.access.administration import KeyAdministration, KeyWish
from ai_core.access.authenticator import Authenticator, Rules
from ai_core.access.caller import KeyLimits, PriorityClass, Scope
from ai_core.access.keys import digest_of, new_key
from ai_core.access.transfer import AccessRecords
from ai_core.errors import NeoError
from ai_core.storage.batches import BatchRecord, BatchRepository, LineState
from ai_core.storage.database import Database
from ai_core.storage.keys import KeyRepository
from ai_core.storage.migrations import upgrade
from ai_core.storage.tables import metadata
from ai_core.storage.usage import Amount, UsageKey, UsageRepository
from servicekit.storage.database import database_url
from servicekit.storage.transfer import read_all, write_all

NOW = datetime.now(UTC)
TODAY = NOW.date()
DEFAULT = "sqlite:///var/ai-core.db"


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine where the service has run with its defaults."""
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "DB_USER", "DB_PASSWORD"):
        monkeypatch.delenv(name, raising=False)


def typed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit status, and what was printed and complained of."""
    capsys.readouterr()
    status = command(["database", *words])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return status, out, err


async def in_database(address: str, do: Any) -> Any:
    await upgrade(database_url(address))
    database = Database(database_url(address))
    try:
        return await do(database)
    finally:
        await database.close()


async def life(database: Database) -> str:
    """Something of everything that the service keeps; a key that opens it."""
    administration = KeyAdministration(KeyRepository(database))
    wish = KeyWish(
        name="Économe’s",
        scopes=frozenset({Scope.GENERATE, Scope.METRICS}),
        limits=KeyLimits(60, 10**12, None, 7),
        networks=["192.0.2.0/24"],
        priority=PriorityClass.BATCH,
        expires_at=NOW + timedelta(days=1),
    )
    first = await administration.create(wish)
    issued = await administration.rotate(first.record.id, timedelta(days=1))
    key_id = issued.record.id
    batches = BatchRepository(database)
    record = BatchRecord(id="batch", key_id=key_id, lines=3, created_at=NOW)
    await batches.add(record, [b"\x01sealed %d" % number for number in range(3)])
    claim = await batches.claim(key_id, "token", 600)
    assert claim is not None
    await batches.record(claim[0], LineState.DONE, b"\x01result")
    await UsageRepository(database).add(
        {
            UsageKey(key_id, TODAY - timedelta(days=number), "neo"): Amount(number, 2**40)
            for number in range(3)
        }
    )
    return str(issued.key)


async def seen(database: Database) -> dict[str, Any]:
    """The same through the ports of the storage."""
    keys = await KeyRepository(database).all()
    batches = BatchRepository(database)
    return {
        "keys": keys,
        "usage": await UsageRepository(database).between(keys[0].id, date(2000, 1, 1), TODAY),
        "batches": await batches.of_key(keys[0].id, 9),
        "lines": [line async for line in batches.ended_lines("batch")],
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
    asyncio.run(in_database(DEFAULT, life))
    before, raw = asyncio.run(in_database(DEFAULT, seen)), asyncio.run(in_database(DEFAULT, rows))
    # The password comes from a file, as in a container, and stands on no command line.
    user, password = postgres_url.removeprefix("postgresql://").partition("@")[0].split(":")
    Path("password").write_text(f"{password}\n")
    monkeypatch.setenv("DB_PASSWORD_FILE", "password")
    address = postgres_url.replace(f":{password}@", "@")
    monkeypatch.setenv("DATABASE_URL", address)
    assert user in address
    status, out, err = typed(capsys, "copy")
    assert (status, err) == (0, "")
    assert ["batch_lines", "3"] in [line.split() for line in out.splitlines()]
    assert asyncio.run(in_database(postgres_url, rows)) == raw
    assert asyncio.run(in_database(postgres_url, seen)) == before
    status, _, err = typed(capsys, "copy")
    assert (status, "not empty: its table api_keys has 1 rows" in err) == (1, True)


def test_what_cannot_be_copied_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert typed(capsys, "copy")[0] == 2
    asyncio.run(in_database(DEFAULT, life))
    assert typed(capsys, "copy")[0] == 2
    assert typed(capsys, "copy", "--to", "mysql://host/name")[0] == 2
    assert typed(capsys, "copy", "--to", "postgresql://u@127.0.0.1:1/nothing")[0] == 1


# --- import and export ---

KEY = new_key()
LINES: list[dict[str, Any]] = [
    {"kind": "key", "key": str(KEY), "name": "given", "scopes": ["generate"], "requests_per_minute": 30},
    {"kind": "key", "id": "abcdefghij", "secret_sha256": "0a" * 32, "name": "hash", "scopes": ["metrics"]},
    {"kind": "usage", "key": KEY.id, "day": "2026-03-01", "model": "neo", "requests": 3, "prompt_tokens": 9},
]


def file_of(lines: list[Any]) -> str:
    Path("records.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return "records.jsonl"


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/other.db"
    address = url if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))
    monkeypatch.setenv("DATABASE_URL", address)
    return address


def test_keys_come_in_and_open_and_their_counters_go_on(
    capsys: pytest.CaptureFixture[str], address: str
) -> None:
    file = file_of(LINES)
    status, out, _ = typed(capsys, "import", file, "--dry-run")
    assert (status, "dry run" in out) == (0, True)
    assert asyncio.run(in_database(address, rows))["api_keys"] == []
    status, out, _ = typed(capsys, "import", file)
    table = [line.split() for line in out.splitlines()]
    assert (status, table[1:]) == (0, [["key", "2", "2", "0", "0"], ["usage", "1", "1", "0", "0"]])

    async def opens(database: Database) -> tuple[int | None, int]:
        authenticator = Authenticator(KeyRepository(database), Rules(b"x-api-key", ()))
        caller = await authenticator.authenticate([(b"x-api-key", str(KEY).encode())], ("127.0.0.1", 1))
        usage = UsageRepository(database)
        await usage.add({UsageKey(KEY.id, date(2026, 3, 1), "neo"): Amount(1, 1)})
        return caller.limits.requests_per_minute, await usage.tokens_of_day(KEY.id, date(2026, 3, 1))

    assert asyncio.run(in_database(address, opens)) == (30, 10)
    before = asyncio.run(in_database(address, rows))
    status, out, err = typed(capsys, "import", file)
    # What was counted since is not overwritten, and the operator hears of it.
    assert [line.split()[2:] for line in out.splitlines()][1:] == [["0", "2", "0"], ["0", "0", "1"]]
    assert (status, err.startswith("line 3: other numbers are counted already")) == (1, True)
    assert asyncio.run(in_database(address, rows)) == before


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"key": "sk-1234"}, "no key of this service"),
        ({"key": None, "id": "abcdefghij", "secret_sha256": "0b" * 32 + "\n"}, "secret_sha256"),
        ({"key": None, "id": "klmnopqrst\n", "secret_sha256": "0b" * 32}, "$.id"),
        ({"key": None}, "both `id` and `secret_sha256`"),
        ({"id": "abcdefghij"}, "does not belong"),
        ({"scopes": ["everything"]}, "scopes"),
        ({"scopes": []}, "opens nothing"),
        ({"networks": ["nowhere"]}, "192.0.2.0/24"),
        ({"name": "a\x00b"}, "printable"),
        ({"priority": 9}, "priority"),
        ({"expires_at": "9999-01-01T00:00:00Z"}, "between 1970"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"secret": "x"}, "secret"),
        ({"key": None, "id": "abcdefghij", "secret_sha256": "0b" * 32}, "another secret"),
    ],
)
def test_a_line_that_cannot_be_taken_is_named(
    capsys: pytest.CaptureFixture[str], change: Any, reason: str
) -> None:
    status, _, err = typed(capsys, "import", file_of([LINES[1], LINES[0] | change, LINES[2]]))
    assert (status, err.startswith("line 2: "), reason in err) == (1, True, True)
    assert len(typed(capsys, "export")[1].splitlines()) == 2


def test_an_export_holds_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    typed(capsys, "import", file_of(LINES))
    out = typed(capsys, "export")[1]
    assert KEY.secret not in out
    assert digest_of(KEY.secret) in out


names = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=20)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
moments = st.timedeltas(timedelta(days=-9_000), timedelta(days=9_000)).map(lambda some: NOW + some)
key_ids = st.sampled_from(["abcdefghij", "0123456789"]) | st.from_regex("[a-z0-9]{10}", fullmatch=True)
keys = st.fixed_dictionaries(
    {
        "kind": st.just("key"),
        "id": key_ids,
        "secret_sha256": digests,
        "name": names,
        "scopes": st.lists(st.sampled_from([one.value for one in Scope]), min_size=1, unique=True),
        "created_at": moments,
    },
    optional={
        "allowed_models": st.lists(names, max_size=3),
        "networks": st.lists(st.sampled_from(["192.0.2.0/24", "2001:db8::/32", "192.0.2.9"]), max_size=2),
        "requests_per_minute": st.integers(1, 1_000_000),
        "tokens_per_day": st.integers(1, 10**12),
        "priority": st.sampled_from([-1, 0, 1]),
        "fair_by_user": st.booleans(),
        "expires_at": moments,
        "revoked_at": moments,
        "rotated_at": moments,
        "previous_sha256": digests,
        "previous_valid_until": moments,
    },
)
usages = st.fixed_dictionaries(
    {
        "kind": st.just("usage"),
        "key": key_ids,
        "day": st.dates(date(2020, 1, 1), date(2020, 1, 3)).map(date.isoformat),
        "model": names,
    },
    optional={
        name: st.integers(0, 2**53 - 1)
        for name in (
            "requests",
            "prompt_tokens",
            "completion_tokens",
            "cached_prompt_tokens",
            "cached_answers",
        )
    },
)


@pytest.fixture(scope="module")
def empty() -> Iterator[Path]:
    """A database without anything, to be copied for each example."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.db"

        async def scrub(database: Database) -> None:
            await database.scrub()

        asyncio.run(in_database(f"sqlite:///{path}", scrub))
        yield path


async def imported(lines: list[bytes], path: Path) -> tuple[bytes, list[tuple[int, int]]]:
    """An export of what was imported twice, and how much each time was new or refused."""
    database, news = Database(database_url(f"sqlite:///{path}")), []
    for _ in range(2):
        report = await read_all(iter(lines), database, AccessRecords(lambda: NOW))
        news.append((sum(kind.new for kind in report.kinds.values()), len(report.refusals)))
    exported = io.BytesIO()
    assert await write_all(exported, database, AccessRecords()) == 0
    await database.close()
    return exported.getvalue(), news


@settings(max_examples=25)
@given(st.lists(keys | usages, max_size=8))
def test_what_was_imported_is_exported_and_imported_elsewhere_as_the_same(
    empty: Path, some: list[Any]
) -> None:
    lines = [msgspec.json.encode(one) for one in some]
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder) / "first.db", Path(folder) / "second.db"
        for path in (first, second):
            shutil.copy(empty, path)
        exported, (new, again) = asyncio.run(imported(lines, first))
        # Of two keys of one id, and of two counts of one day, the first is kept.
        identities = {(one.get("id"), one.get("key"), one.get("day"), one.get("model")) for one in some}
        assert (new[0], again) == (len(identities), (0, new[1]))
        assert len(exported.splitlines()) == len(identities)
        there, (news, _) = asyncio.run(imported(exported.splitlines(), second))
        assert (there, news) == (exported, (len(identities), 0))
    out = [json.loads(line) for line in exported.splitlines()]
    given = {one["id"]: one for one in reversed(some) if one["kind"] == "key"}
    for one in out:
        if one["kind"] == "key":
            wanted = given[one["id"]]
            assert (one["secret_sha256"], one["name"]) == (wanted["secret_sha256"], wanted["name"])
            assert set(one["scopes"]) == set(wanted["scopes"])
            assert one.get("requests_per_minute") == wanted.get("requests_per_minute")


def test_a_revoked_key_stays_shut(capsys: pytest.CaptureFixture[str]) -> None:
    typed(capsys, "import", file_of([LINES[0] | {"revoked_at": NOW.isoformat()}]))

    async def opens(database: Database) -> None:
        authenticator = Authenticator(KeyRepository(database), Rules(b"x-api-key", ()))
        await authenticator.authenticate([(b"x-api-key", str(KEY).encode())], ("127.0.0.1", 1))

    with pytest.raises(NeoError):
        asyncio.run(in_database(DEFAULT, opens))
