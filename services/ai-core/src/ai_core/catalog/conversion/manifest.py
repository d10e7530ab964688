"""Converted models on the disk: what was made of which model, and which of them are complete.

::

    MODEL_CACHE_DIR/converted/models/safetensors/<name>-<digest of the path>/<int8>-<digest>/
        openvino_model.xml, openvino_model.bin, tokenizer.json, config.json, …
        converted.json     written last, before the folder gets this name

``<digest>`` is that of the source's files, so a model that has changed is converted again.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import msgspec

MANIFEST = "converted.json"
FOLDER = "safetensors"
FORMS = {"none": "fp16", "int8": "int8", "4bit": "int4"}
"""How weights are stored, by ``quantization`` of the models file."""
REVISION = 1
"""Of the conversion: raised when it is done in another way."""
_SUFFIXES = (".safetensors", ".json", ".jinja", ".model")
_SAMPLE_BYTES = 1 << 20
_DIGITS = 16


class Converted(msgspec.Struct, frozen=True):
    """The manifest of a converted model."""

    source: str
    """The folder that it was made from."""
    digest: str
    """Of the source's files."""
    quantization: str
    """As the models file has it: ``none``, ``int8`` or ``4bit``."""
    form: str
    """How the weights are stored."""
    size: int
    """Bytes of the weights."""
    prepared: int
    """Which revision of our backend's preparation the graph has (``backends.openvino.prepared.REVISION``)."""
    revision: int = REVISION


def digest_of(source: Path) -> str:
    """Changes with the files of a model's folder: their names, sizes, times, first and last megabytes.

    Raises OSError.
    """
    digest = hashlib.sha256(str(REVISION).encode())
    for path in sorted(path for path in source.iterdir() if path.suffix in _SUFFIXES):
        status = path.stat()
        digest.update(f"{path.name} {status.st_size} {status.st_mtime_ns}\0".encode())
        with path.open("rb") as file:
            digest.update(file.read(_SAMPLE_BYTES))
            file.seek(max(0, status.st_size - _SAMPLE_BYTES))
            digest.update(file.read())
    return digest.hexdigest()[:_DIGITS]


def folder_of(source: Path, kept: Path) -> Path:
    """Where the conversions of one model lie, in the folder for converted models."""
    path = source.resolve()
    return kept / FOLDER / f"{path.name}-{hashlib.sha256(str(path).encode()).hexdigest()[:_DIGITS]}"


def place_of(source: Path, kept: Path, quantization: str, digest: str) -> Path:
    """Where one conversion of it lies, or will lie."""
    return folder_of(source, kept) / f"{FORMS[quantization]}-{digest}"


def read(folder: Path) -> Converted | None:
    """What a folder's manifest says; None: it is no complete conversion."""
    try:
        return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Converted)
    except (OSError, msgspec.DecodeError):
        return None


def existing(source: Path, kept: Path, quantization: str) -> Path | None:
    """The folder of a model as it was converted before; None: it was not, or has changed since."""
    try:
        folder = place_of(source, kept, quantization, digest_of(source))
    except OSError:
        return None
    return None if read(folder) is None else folder


def conversions(kept: Path) -> list[tuple[Path, Converted]]:
    """All complete conversions, by folder."""
    folders = sorted(path.parent for path in (kept / FOLDER).glob(f"*/*/{MANIFEST}"))
    return [(folder, found) for folder in folders if (found := read(folder)) is not None]


def remove_stale(source: Path, kept: Path, digest: str) -> None:
    """Remove what was made of a model before it changed, and what interrupted conversions left."""
    for folder in folder_of(source, kept).glob("*"):
        found = read(folder)
        if found is None or found.digest != digest or found.revision != REVISION:
            shutil.rmtree(folder, ignore_errors=True)
