"""``ai-core models remove``: what was fetched or quantized leaves the disk."""

from __future__ import annotations

import argparse
import sys

from ai_core.catalog.hub.sizes import in_words
from ai_core.catalog.models import ModelEntry
from ai_core.catalog.removal import refuse_foreign, remove_model
from ai_core.cli.models.workplace import Workplace
from ai_core.cli.terminal import complain

EXIT_REFUSED = 1


async def run(place: Workplace, options: argparse.Namespace) -> int:
    """Remove one model's files. Returns 0, or 1 if it stays."""
    entry = place.catalog.resolve(options.name)
    refuse_foreign(entry)
    if await place.server.is_resident(entry.name):
        if not options.unload:
            return complain(
                f"'{entry.name}' is in the memory of the server at {place.server.url}: unload it first, or "
                "say --unload.",
                status=EXIT_REFUSED,
            )
        if problem := await place.server.unload(entry.name):
            return complain(problem, status=EXIT_REFUSED)
    if not options.yes and not confirmed(entry):
        return complain("Nothing was removed.", status=EXIT_REFUSED)
    freed = remove_model(entry, place.settings.model_cache_dir)
    print(outcome(entry.name, freed))
    if entry.hub is not None:
        print(f"It is still listed in {place.settings.model_config_path}.", file=sys.stderr)
    await place.server.reload()
    return 0


def confirmed(entry: ModelEntry) -> bool:
    """Whether the person at the terminal says yes."""
    if not sys.stdin.isatty():
        print("ai-core: without a terminal, say --yes.", file=sys.stderr)
        return False
    print(f"Remove the files of '{entry.name}' in {entry.path}? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes", "o", "oui"}


def outcome(name: str, freed: int | None) -> str:
    """What became of it."""
    if freed is None:
        return f"{name} was not here."
    if not freed:
        return f"Removed: {name}. Its files stay: another model of the repository needs them."
    return f"Removed: {name}, {in_words(freed)}."
