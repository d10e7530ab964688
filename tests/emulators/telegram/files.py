"""The files of the emulator: kept for ever, and to be had for a while under an address.

https://core.telegram.org/bots/api#getfile
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from tests.emulators.telegram import refusal

MAX_DOWNLOAD = 20_000_000
MAX_UPLOAD = 50_000_000
ADDRESS_SECONDS = 3_600.0
"""The original promises this much at least."""
_FOLDERS = {"photo": "photos", "voice": "voice", "audio": "music"}


@dataclass(frozen=True)
class File:
    """What somebody sent."""

    id: str
    kind: str
    name: str
    content: bytes

    @property
    def path(self) -> str:
        """Where it lies; of its name, the original keeps only the ending."""
        suffix = PurePosixPath(self.name).suffix
        return f"{_FOLDERS.get(self.kind, 'documents')}/{self.id}{suffix if suffix[1:].isalnum() else ''}"

    def fields(self) -> dict[str, Any]:
        """As it stands in a message."""
        common = {"file_id": self.id, "file_unique_id": f"u{self.id}", "file_size": len(self.content)}
        if self.kind == "photo":
            small = common | {"file_id": f"{self.id}-small", "file_size": 1, "width": 90, "height": 90}
            return {"photo": [small, common | {"width": 1280, "height": 960}]}
        if self.kind == "voice":
            return {"voice": common | {"duration": 3, "mime_type": "audio/ogg"}}
        return {"document": common | {"file_name": self.name}}


@dataclass
class Files:
    """All of a world's."""

    clock: Callable[[], float]
    by_id: dict[str, File] = field(default_factory=dict)
    valid_until: dict[str, float] = field(default_factory=dict)
    """Addresses that were given out."""
    downloads: int = 0

    def add(self, kind: str, name: str, content: bytes) -> File:
        """A file that messages may hold."""
        file = File(f"file_{len(self.by_id)}", kind, name, content)
        self.by_id[file.id] = file
        return file

    def address(self, file_id: str) -> dict[str, Any]:
        """getFile. Raises Refusal."""
        file = self.by_id.get(file_id)
        if file is None:
            raise refusal.bad_request("wrong file_id or the file is temporarily unavailable")
        if len(file.content) > MAX_DOWNLOAD:
            raise refusal.bad_request("file is too big")
        self.valid_until[file.path] = self.clock() + ADDRESS_SECONDS
        return {
            "file_id": file.id,
            "file_unique_id": f"u{file.id}",
            "file_size": len(file.content),
            "file_path": file.path,
        }

    def download(self, path: str) -> bytes:
        """What lies under an address. Raises Refusal."""
        if self.valid_until.get(path, 0.0) < self.clock():
            raise refusal.NO_METHOD
        self.downloads += 1
        return next(file.content for file in self.by_id.values() if file.path == path)
