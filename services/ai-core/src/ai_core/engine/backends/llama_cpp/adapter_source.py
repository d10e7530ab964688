"""From what the operator has to a GGUF file that llama.cpp can take as an adapter.

llama.cpp trusts a file's metadata to have the types that it expects, and ends the process where they do
not: so the header is read here first.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ai_core.engine.backends.adapter_port import BadAdapter
from ai_core.engine.backends.gguf_file import BadGguf, GgufHeader
from ai_core.engine.backends.llama_cpp.gguf_adapter import read_adapter_header, write_gguf
from ai_core.engine.backends.llama_cpp.peft_adapter import CONFIG_FILE, WEIGHTS_FILE, Converted, convert

CONVERSION = 1
"""Counts changes of the conversion: what an older one wrote is not taken."""
_HASHED_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class BaseModel:
    """What an adapter has to fit: the model's architecture, and its attention heads."""

    architecture: str
    heads: int
    kv_heads: int


@contextmanager
def gguf_of(path: Path, base: BaseModel, kept: Path | None) -> Iterator[Path]:
    """The adapter as a GGUF file, for as long as the block lasts: the file itself, or a PEFT folder
    converted, which is kept in ``kept`` and taken from there the next time.

    Raises:
        BadAdapter: neither, broken, or for another model.
        OSError: unreadable.
    """
    if not path.is_dir():
        check_gguf(path, base)
        yield path
        return
    if kept is None:
        with tempfile.TemporaryDirectory(prefix="neo-adapter-") as folder:
            target = Path(folder) / "adapter.gguf"
            _convert(path, base, target)
            yield target
        return
    target = kept / f"{digest_of_folder(path, base)}.gguf"
    if not target.exists():
        kept.mkdir(parents=True, exist_ok=True)
        _convert(path, base, target)
    yield target


def check_gguf(path: Path, base: BaseModel) -> None:
    """Whether a file is a LoRA adapter for this architecture, as far as its header says.

    Raises:
        BadAdapter: with the reason.
        OSError: unreadable.
    """
    try:
        header = read_adapter_header(path)
    except BadGguf as error:
        raise BadAdapter(f"{path} is no complete GGUF file: {error}") from error
    metadata = header.metadata
    if metadata.get("general.type") != "adapter" or metadata.get("adapter.type") != "lora":
        raise BadAdapter(f"{path} is a GGUF file, but no LoRA adapter")
    architecture = metadata.get("general.architecture")
    if architecture != base.architecture:
        raise BadAdapter(f"it is for '{architecture}' models, and this one is a '{base.architecture}'")
    if not isinstance(metadata.get("adapter.lora.alpha", 0.0), float):
        raise BadAdapter(f"{path} says nothing usable about its alpha")
    if any(name.startswith("adapter.alora") for name in metadata):
        raise BadAdapter("it is an activated LoRA (aLoRA), which this server does not apply")
    _check_pairs(header)


def digest_of_folder(folder: Path, base: BaseModel) -> str:
    """SHA-256 of a PEFT folder's files and of all else that its conversion depends on."""
    digest = hashlib.sha256(f"{CONVERSION} {base}".encode())
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise BadAdapter(f"the folder {folder} has no {name}")
        with (folder / name).open("rb") as file:
            while piece := file.read(_HASHED_AT_ONCE):
                digest.update(piece)
        digest.update(b"\0")
    return digest.hexdigest()


def _check_pairs(header: GgufHeader) -> None:
    names = {tensor.name for tensor in header.tensors}
    for name in names:
        stem, dot, part = name.rpartition(".")
        if part not in {"lora_a", "lora_b"} or not dot:
            raise BadAdapter(f"its tensor '{name[:80]}' is no part of a LoRA adapter")
        if {f"{stem}.lora_a", f"{stem}.lora_b"} - names:
            raise BadAdapter(f"of '{stem[:80]}' it has only one of two matrices")
    if not names:
        raise BadAdapter("it holds no matrices")


def _convert(folder: Path, base: BaseModel, target: Path) -> None:
    converted: Converted = convert(folder, base.architecture, base.heads, base.kv_heads)
    handle, unfinished = tempfile.mkstemp(dir=target.parent, suffix=".part")
    os.close(handle)
    try:
        write_gguf(Path(unfinished), converted.metadata, converted.tensors)
        # In one step: two engines may convert the same adapter at the same time.
        Path(unfinished).replace(target)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise
