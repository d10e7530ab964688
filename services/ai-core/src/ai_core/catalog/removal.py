"""Models that were fetched or made here leave the disk."""

from __future__ import annotations

from pathlib import Path

from ai_core.catalog.fetched import selection_key
from ai_core.catalog.hub.removal import remove_selection
from ai_core.catalog.models import ModelEntry
from ai_core.catalog.quantized import described
from ai_core.errors import InvalidRequest


def refuse_foreign(entry: ModelEntry) -> None:
    """Raises InvalidRequest for a model whose files did not come from here."""
    if entry.type == "remote":
        raise InvalidRequest(f"'{entry.name}' is on another server; there is nothing to remove here.")
    if entry.hub is None and described(entry.path) is None:
        raise InvalidRequest(
            f"'{entry.name}' was neither fetched nor quantized here; its files are the operator's own."
        )


def remove_model(entry: ModelEntry, models_dir: Path) -> int | None:
    """Delete a model's files, as far as no other one needs them. It may not be in memory.

    Returns:
        The bytes that were freed; None: it was not here.

    Raises:
        InvalidRequest: as :func:`refuse_foreign`.
        OSError.
    """
    refuse_foreign(entry)
    if entry.hub is not None:
        key = selection_key(entry.type, entry.hub.pattern, entry.quantization)
        return remove_selection(entry.path, key, models_dir)
    size = entry.path.stat().st_size
    # The description first: a file without one is nothing.
    entry.path.with_suffix(".json").unlink(missing_ok=True)
    entry.path.unlink()
    return size
