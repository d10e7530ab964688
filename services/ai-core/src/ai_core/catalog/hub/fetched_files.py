"""Files of a folder of fetched models that no model has any more."""

from __future__ import annotations

from pathlib import Path

from ai_core.catalog.fetched import Record, write_record


def forget_unused(folder: Path, record: Record, names: list[str]) -> None:
    """Remove files that no model of this folder has any more. Raises OSError."""
    used = {name for selection in record.selections.values() for name in selection.files}
    for name in names:
        if name not in used:
            record.files.pop(name, None)
            (folder / name).unlink(missing_ok=True)
    write_record(folder, record)
