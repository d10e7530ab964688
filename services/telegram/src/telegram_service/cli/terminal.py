"""How commands speak to the person who runs them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

ENV_FILE = Path(".env")
FINE = 0
NOT_FOUND = 1
"""Exit status: what was named is not there, or not all could be done."""
UNUSABLE = 2
"""Exit status: the settings, or the words of the command, have to be changed."""


def complain(*lines: str, status: int = UNUSABLE) -> int:
    """Sentences to standard error; returns the exit status."""
    for line in lines:
        print(f"telegram-service: {line}", file=sys.stderr)
    return status


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> None:
    """Rows to standard output; ``empty`` where there are none. A pipe gets them as wide as they are."""
    cells = [[str(cell) for cell in row] for row in rows]
    if not cells:
        print(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in cells:
        table.add_row(*row)
    console = Console() if sys.stdout.isatty() else Console(width=200, no_color=True)
    console.print(table)


def moment(value: datetime) -> str:
    """For people, in UTC."""
    return value.strftime("%Y-%m-%d %H:%M:%S")
