"""The process that reads one document: ``python -m`` this, with path, kind, limits, parent and charset.

The document's text goes to standard output, as UTF-8; what became of it is the exit status.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import msgspec

from servicekit.documents.confinement import confine
from servicekit.documents.decoding import clean, decoded
from servicekit.documents.port import DocumentRefused, Kind, Limits, Refusal
from servicekit.documents.programs import command_for
from servicekit.documents.verdicts import EXIT_STATUS


def main(path: str, kind: str, limits_json: str, parent: str, charset: str) -> int:
    """The exit status."""
    limits = msgspec.json.decode(limits_json, type=Limits)
    try:
        if kind in {Kind.IMAGE, Kind.DOC}:
            _become(command_for(Kind(kind), path), limits, int(parent))
        confine(limits, int(parent))
        _write(_pieces(Path(path), Kind(kind), limits, charset), limits)
    except DocumentRefused as refused:
        return EXIT_STATUS[refused.refusal]
    except MemoryError:
        return EXIT_STATUS[Refusal.TOO_LARGE]
    except Exception:  # noqa: BLE001 — parsers stumble in more ways than they know
        return EXIT_STATUS[Refusal.UNREADABLE]
    return 0


def _become(command: list[str] | None, limits: Limits, parent: int) -> NoReturn:
    """A program of the system reads it, under the same limits and in this very process."""
    if command is None:
        raise DocumentRefused(Refusal.NOT_INSTALLED)
    confine(limits, parent)
    os.execvp(command[0], command)  # noqa: S606 — the command is ours, the document only its input


def _pieces(path: Path, kind: Kind, limits: Limits, charset: str) -> Iterator[str]:
    data = path.read_bytes()
    if kind is Kind.TEXT:
        yield decoded(data, charset)
    elif kind is Kind.HTML:
        from servicekit.documents.web_pages import text_of_html  # noqa: PLC0415 — each kind loads its own parser

        yield text_of_html(decoded(data, charset))
    else:
        from servicekit.documents.readers import docx_pieces, pdf_pieces  # noqa: PLC0415

        yield from (pdf_pieces if kind is Kind.PDF else docx_pieces)(data, limits)


def _write(pieces: Iterator[str], limits: Limits) -> None:
    """One character more than is wanted tells that there is more."""
    room = limits.characters + 1
    for piece in pieces:
        text = clean(piece)[:room]
        sys.stdout.buffer.write(text.encode())
        room -= len(text)
        if room <= 0:
            return


if __name__ == "__main__":
    STATUS = main(*sys.argv[1:])
    sys.stdout.buffer.flush()
    # Nothing is tidied up: after running out of memory, that might fail.
    os._exit(STATUS)
