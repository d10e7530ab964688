"""Mails with a label, written for the tests.

``tests/deciding/labelled/*.txt``; and ``held_out``, of mails that were written without a look at the rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "deciding"
_SUPPLIED = {"To": "neo@example.test", "Date": "Sat, 21 Nov 2026 20:00:00 +0100"}


@dataclass(frozen=True, slots=True)
class Labelled:
    """One mail."""

    name: str
    is_wanted: bool
    raw: bytes


def labelled(folder: str = "labelled") -> list[Labelled]:
    """All of a folder."""
    return [
        Labelled(name, wanted, raw)
        for wanted, file in ((True, "questions.txt"), (False, "unwanted.txt"))
        for name, raw in _records((FOLDER / folder / file).read_text())
    ]


def _records(text: str) -> list[tuple[str, bytes]]:
    return [_record(record, number) for number, record in enumerate(text.split("=== ")[1:])]


def _record(record: str, number: int) -> tuple[str, bytes]:
    name, _, mail = record.partition("\n")
    head, _, body = mail.partition("\n\n")
    lines = head.split("\n")
    given = {line.partition(":")[0] for line in lines}
    supplied = dict(_SUPPLIED)
    if "X-Test-No-Message-ID" not in given:
        supplied["Message-ID"] = f"<labelled-{number}@people.test>"
    if "Content-Type" not in given:
        supplied["Content-Type"] = "text/plain; charset=utf-8"
    lines += [f"{key}: {value}" for key, value in supplied.items() if key not in given]
    return name.strip(), "\n".join([*lines, "", body]).encode()
