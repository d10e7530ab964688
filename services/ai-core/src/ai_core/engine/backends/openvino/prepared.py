"""Prepared models on the disk: made once, however many ask, and never used half-made.

::

    FOLDER/<name>-<digest of the source's path>/<digest of the source and of how it is prepared>/

A prepared model takes as much room as its source. When the source has changed, what was made of the one
before is removed.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from ai_core.engine.backends.loading import CannotLoad
from ai_core.engine.backends.openvino.prepare import CANNOT, MODEL_FILE

REVISION = 2
"""Of what is prepared in a graph: raised with every change to ``graph``."""
_SAMPLE_BYTES = 1 << 20
_DIGITS = 16


def prepared(source: Path, kept: Path, *, adapters: bool = False) -> Path:
    """The folder with the prepared model of ``source``; takes seconds per gigabyte where it must be made.

    Args:
        source: a GGUF file, or a folder in OpenVINO's form.
        kept: the folder for converted models.
        adapters: whether it is to be served with LoRA adapters, which cost a little in every step.

    Raises:
        CannotLoad: it cannot be made.
    """
    own = kept / f"{source.stem}-{_digest(str(source.resolve()).encode())}"
    try:
        folder = own / (key_of(source) + ("-adapters" if adapters else ""))
        if (folder / MODEL_FILE).is_file():
            return folder
        own.mkdir(parents=True, exist_ok=True)
        with _alone(own.with_suffix(".lock")):
            if not (folder / MODEL_FILE).is_file():
                _remove_stale(own, key_of(source))
                _make(source, folder, ["adapters"] if adapters else [])
    except OSError as error:
        raise CannotLoad(f"{source} cannot be prepared for OpenVINO in {kept} ({error.strerror})") from error
    return folder


def key_of(source: Path) -> str:
    """Changes with the source's files and with whatever else a prepared model depends on. Raises OSError."""
    main = source / MODEL_FILE if source.is_dir() else source
    weights = main.with_suffix(".bin") if source.is_dir() else main
    parts = [f"{REVISION} {version('openvino-genai')}".encode()]
    for path in (main, weights):
        status = path.stat()
        parts.append(f"{status.st_size} {status.st_mtime_ns}".encode())
        with path.open("rb") as file:
            parts.append(file.read(_SAMPLE_BYTES))
            file.seek(max(0, status.st_size - _SAMPLE_BYTES))
            parts.append(file.read())
    return _digest(b"\0".join(parts))


def _make(source: Path, folder: Path, options: list[str]) -> None:
    making = tempfile.mkdtemp(dir=folder.parent, prefix="making-")
    try:
        command = [
            sys.executable,
            "-m",
            "ai_core.engine.backends.openvino.prepare",
            str(source),
            making,
            *options,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == CANNOT:
            raise CannotLoad(f"OpenVINO cannot read {source}: {done.stdout.strip()}")
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise CannotLoad(
                f"{source} could not be prepared for OpenVINO (status {done.returncode}): {reason}"
            )
        # Renaming is what makes it one: whatever was interrupted before has another name.
        Path(making).rename(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _remove_stale(own: Path, key: str) -> None:
    """Models of an older source, and what interrupted makers left."""
    for path in own.iterdir():
        if not path.name.startswith(key):
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:_DIGITS]
