"""docs/moving.md: its records can be imported as they stand there, and its tables name every field."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ai_core.access.transfer import AccessRecords, ApiKey, Usage
from ai_core.storage.migrations import SCHEMA as AI_CORE
from mail_service.storage.migrations import SCHEMA as MAIL
from mail_service.storage.names import load_names
from mail_service.storage.transfer import LetterRecord, MailRecords, Words
from servicekit.storage.database import Database, database_url
from servicekit.storage.migrating import Schema, upgrade
from servicekit.storage.sealing import PlainSeal
from servicekit.storage.transfer import Records, read_all
from telegram_service.storage.migrations import SCHEMA as TELEGRAM
from telegram_service.storage.transfer import ChatState, Said, TelegramRecords, User

GUIDE = (Path(__file__).parent.parent / "docs" / "moving.md").read_text("utf-8")
STRUCTS: dict[str, type[msgspec.Struct]] = {
    "key": ApiKey,
    "usage": Usage,
    "user": User,
    "turn": Said,
    "chat": ChatState,
    "letter": LetterRecord,
    "answer": Words,
}


async def of_ai_core(_database: Database) -> Records:
    return AccessRecords()


async def of_telegram(_database: Database) -> Records:
    return TelegramRecords(PlainSeal())


async def of_mail(database: Database) -> Records:
    return MailRecords(PlainSeal(), await load_names(database, PlainSeal()))


@pytest.mark.parametrize(
    ("heading", "schema", "records_of"),
    [("The AI core", AI_CORE, of_ai_core), ("Telegram", TELEGRAM, of_telegram), ("Mail", MAIL, of_mail)],
)
async def test_the_examples_are_taken(
    heading: str, schema: Schema, records_of: Callable[[Database], Any], tmp_path: Path
) -> None:
    section = GUIDE.partition(f"### {heading}:")[2].partition("\n### ")[0]
    (example,) = re.findall(r"```jsonl\n(.*?)```", section, flags=re.DOTALL)
    database = Database(database_url(f"sqlite:///{tmp_path}/a.db"))
    await upgrade(database, schema)
    lines = example.encode().splitlines()
    report = await read_all(iter(lines), database, await records_of(database))
    await database.close()
    assert report.refusals == []
    assert sum(kind.new for kind in report.kinds.values()) == len(lines)


@pytest.mark.parametrize("kind", STRUCTS)
def test_the_tables_name_every_field(kind: str) -> None:
    table = GUIDE.partition(f"| field of `{kind}` |")[2].partition("\n\n")[0]
    named = [
        name for cell in re.findall(r"(?m)^\| ([^|]*) \|", table) for name in re.findall(r"`(\w+)`", cell)
    ]
    assert sorted(named) == sorted(STRUCTS[kind].__struct_fields__)
