"""Lock files as `uv pip compile --generate-hashes` writes them."""

from __future__ import annotations

import re


def split(lock: str, package: str) -> tuple[str, str]:
    """The entry of one package, and the lock without it. Raises KeyError if it is not there.

    An entry is the line that begins with the package's name, and the indented lines after it.
    """
    entry = re.compile(rf"^{re.escape(package)}==.*\n(?:[ \t]+.*\n?)*", re.MULTILINE)
    found = entry.search(lock)
    if found is None:
        raise KeyError(package)
    return found.group(), lock[: found.start()] + lock[found.end() :]
