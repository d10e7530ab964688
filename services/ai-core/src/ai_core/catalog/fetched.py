"""What was fetched into a folder: a small file beside the models, read by who serves them."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from ai_core.catalog.gguf_names import preferred_quantization

FETCHED = ".fetched.json"
_VERSION = 1


class FetchedFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file that is here and had the right checksum when it came."""

    size: int
    sha256: str = ""
    git_sha1: str = ""
    commit: str = ""
    """Of the repository, when it was fetched."""


class Selection(msgspec.Struct, frozen=True, omit_defaults=True):
    """One model of the folder, complete."""

    files: list[str]
    main: str = ""
    """What an engine opens, in the folder; empty: the folder itself."""
    said: str = ""
    """Why these files."""


class Record(msgspec.Struct, omit_defaults=True):
    """``selections``: by :func:`selection_key`. Several models may come from one repository."""

    version: int = _VERSION
    repository: str = ""
    revision: str = ""
    files: dict[str, FetchedFile] = {}
    selections: dict[str, Selection] = {}


def selection_key(form: str, pattern: str, quantization: str) -> str:
    """Which of the models that a repository offers is meant: what the models file says of it.

    ``form`` is a model's type, or ``peft``.
    """
    wanted = preferred_quantization(quantization) if form == "gguf" else ""
    return "|".join((form, pattern.lower(), wanted))


def read_record(folder: Path) -> Record:
    """What a folder holds; an empty record where there is none that can be read."""
    try:
        record = msgspec.json.decode((folder / FETCHED).read_bytes(), type=Record)
    except (OSError, msgspec.DecodeError):
        return Record()
    return record if record.version == _VERSION else Record()


def write_record(folder: Path, record: Record) -> None:
    """Replace a folder's record at once, and only when it is on the disk. Raises OSError."""
    incoming = folder / f"{FETCHED}.new"
    with incoming.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(record), indent=1))
        file.flush()
        os.fsync(file.fileno())
    incoming.replace(folder / FETCHED)
