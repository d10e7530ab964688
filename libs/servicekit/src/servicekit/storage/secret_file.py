"""SECRET_KEY where nobody has set one: made once, kept in a file that only its owner may read."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from pathlib import Path

SECRET_BYTES = 32


class SecretFileError(Exception):
    """The file cannot be read or made; the text says why and holds no secret."""


def kept_secret(path: Path) -> str | None:
    """What the file holds; None: there is none. Raises SecretFileError."""
    try:
        secret = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise SecretFileError(f"{path} cannot be read: {_reason(error)}.") from error
    if not secret:
        raise SecretFileError(
            f"{path} is empty: remove it, or write a secret of 16 characters or more into it."
        )
    return secret


def make_secret(path: Path) -> bool:
    """Make the file if there is none; False: it was there. Whoever else does so at the same time, one secret
    comes of it. Raises SecretFileError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Complete before it has its name, and readable for its owner only (mkstemp).
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}")
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(f"{secrets.token_hex(SECRET_BYTES)}\n")
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)
                return True
        finally:
            Path(draft).unlink()
    except OSError as error:
        raise SecretFileError(f"{path} cannot be made: {_reason(error)}.") from error
    return False


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else "it is no text"
