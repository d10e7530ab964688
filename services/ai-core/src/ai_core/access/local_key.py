"""The key of whoever runs this service on their own machine: made once, kept in a file of theirs."""

from __future__ import annotations

import os
from pathlib import Path

from ai_core.access.administration import KeyAdministration, local_wish
from ai_core.access.keys import PresentedKey, new_key, parse_key


class LocalKeyError(Exception):
    """The file of the local key cannot be written or read; the text says what to do."""


def write_local_key(path: Path, key: PresentedKey) -> None:
    """Only the owner may read the file, from its first byte on. Raises LocalKeyError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{key}\n")
    except OSError as error:
        raise LocalKeyError(
            f"LOCAL_KEY_PATH={path} cannot be written ({error.strerror}): choose another path."
        ) from error


def read_local_key(path: Path) -> str | None:
    """The key in the file; None if there is none that can be read."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return text if parse_key(text) else None


async def make_local_key(keys: KeyAdministration, path: Path) -> PresentedKey:
    """Make the key and its file. Raises LocalKeyError, StorageUnavailable."""
    key = new_key()
    # The file first: a key that only the database knows could be used by nobody.
    write_local_key(path, key)
    await keys.create(local_wish(), key)
    return key
