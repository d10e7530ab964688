"""``ai-core models verify``: whether files are still what they were when they came."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from ai_core.catalog.facts import facts_of
from ai_core.catalog.fetched import read_record, selection_key
from ai_core.catalog.hub.verification import Finding, verify_selection
from ai_core.catalog.models import ModelEntry
from ai_core.catalog.places import opened_path
from ai_core.catalog.quantized import described
from ai_core.cli.models.bar import Bar, progress_bar
from ai_core.cli.models.workplace import Workplace

EXIT_DAMAGED = 1


def run(place: Workplace, names: list[str]) -> int:
    """Check these models, or all. Returns 0, or 1 if one is damaged or was named and is not here."""
    catalog = place.catalog
    entries = [catalog.resolve(name) for name in names] or list(catalog.entries)
    worst = 0
    with progress_bar() as bar:
        for entry in entries:
            finding = check(entry, bar)
            failed = finding.damaged or (finding.missing and bool(names))
            worst = max(worst, EXIT_DAMAGED if failed else 0)
            print(f"{entry.name}: {finding.sentence}", file=sys.stdout)
    return worst


def check(entry: ModelEntry, bar: Bar) -> Finding:
    """One model; reads all of its files."""
    if entry.type == "remote":
        return Finding("on another server, nothing to check")
    path = opened_path(entry)
    if path is None:
        hint = f"; 'ai-core models pull {entry.name}' fetches it" if entry.hub else ""
        return Finding(f"not here{hint}", missing=True)
    if entry.hub is not None:
        key = selection_key(entry.type, entry.hub.pattern, entry.quantization)
        if key in read_record(entry.path).selections:
            again = f"'ai-core models pull {entry.name}' fetches it again"
            return verify_selection(
                entry.path, key, again, lambda name, done, total: bar.moved(f"checking {name}", done, total)
            )
    if (quantized := described(path)) is not None:
        return _compare(path, quantized.sha256, entry.name)
    problem = facts_of(entry.type, path).problem
    if problem:
        return Finding(f"damaged: {problem}", damaged=True)
    return Finding("readable; it came without checksums")


def _compare(path: Path, sha256: str, name: str) -> Finding:
    with path.open("rb") as content:
        if hashlib.file_digest(content, "sha256").hexdigest() == sha256:
            return Finding("ok")
    return Finding(f"damaged: quantize it again, or 'ai-core models remove {name}'", damaged=True)
