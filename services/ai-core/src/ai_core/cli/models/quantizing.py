"""``ai-core models quantize``: a smaller model from one that is here."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path

from ai_core.catalog.facts import FILE_TYPES, facts_of
from ai_core.catalog.hub.sizes import in_words
from ai_core.catalog.models import ModelEntry
from ai_core.catalog.places import opened_path
from ai_core.catalog.quantized import GOOD_SOURCES, file_type_number, quantized_name, quantized_path
from ai_core.catalog.quantizing import CannotQuantize, quantized
from ai_core.cli.models.bar import progress_bar
from ai_core.cli.models.workplace import Workplace
from ai_core.cli.terminal import complain
from ai_core.errors import InvalidRequest

EXIT_FAILED = 1


async def run(place: Workplace, options: argparse.Namespace) -> int:
    """Make it. Returns 0, or 1 if it cannot be made."""
    entry = place.catalog.resolve(options.name)
    number = file_type_number(options.type)
    if number is None:
        raise InvalidRequest(f"There is no quantization '{options.type}'. {', '.join(FILE_TYPES.values())}.")
    source = source_of(entry)
    name = quantized_name(entry.name, options.type)
    target = quantized_path(place.settings.model_cache_dir, name)
    size = source.stat().st_size
    try:
        with progress_bar() as bar:
            what = (name, entry.name, options.type.upper(), number)
            steps = quantized(source, target, what, place.settings.threads)
            async with contextlib.aclosing(steps) as progress:
                async for step in progress:
                    bar.moved(f"quantizing {entry.name}", size * step.tensor // step.tensors, size)
    except CannotQuantize as error:
        return complain(str(error), status=EXIT_FAILED)
    print(name)
    print(f"{in_words(size)} became {in_words(target.stat().st_size)}: {target}", file=sys.stderr)
    if await place.server.reload():
        print("The running server knows it by this name.", file=sys.stderr)
    return 0


def source_of(entry: ModelEntry) -> Path:
    """The GGUF file to start from. Raises InvalidRequest."""
    if entry.type != "gguf":
        raise InvalidRequest(f"'{entry.name}' is no GGUF model; only those are quantized here.")
    path = opened_path(entry)
    if path is None:
        hint = f": 'ai-core models pull {entry.name}' fetches it" if entry.hub else f": {entry.path}"
        raise InvalidRequest(f"The files of '{entry.name}' are not here{hint}.")
    facts = facts_of("gguf", path)
    if facts.problem:
        raise InvalidRequest(facts.problem)
    if facts.quantization not in GOOD_SOURCES:
        raise InvalidRequest(
            f"'{entry.name}' is quantized already ({facts.quantization}); what is made from it again would "
            f"be spoiled. Start from one of {', '.join(sorted(GOOD_SOURCES))}."
        )
    return path
