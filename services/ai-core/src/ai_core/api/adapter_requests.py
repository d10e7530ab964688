"""What ``POST /api/v1/models/{name}/adapters`` takes, and which files it may name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ai_core.api.json_body import JsonObject
from ai_core.engine.messages import AdapterFile
from ai_core.errors import Forbidden, InvalidRequest

GGUF_MAGIC = b"GGUF"
PEFT_CONFIG = "adapter_config.json"


class AdapterBody(JsonObject):
    """A LoRA adapter for a model."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")]
    """What requests call it."""
    path: Annotated[str, Field(min_length=1, max_length=4_096, pattern=r"^[^\x00]+$")]
    """A GGUF file, or a folder of PEFT's, in MODEL_CACHE_DIR or ADAPTER_FOLDERS."""
    scale: Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)] | None = None
    """How strongly it counts; 1 unless told otherwise."""

    def file(self, folders: Sequence[Path]) -> AdapterFile:
        """The adapter, at a place from which adapters may be loaded.

        Raises:
            Forbidden: the path leads elsewhere.
            InvalidRequest: there is no adapter at this place.
        """
        path = allowed_path(self.path, folders)
        check_adapter_files(path)
        return AdapterFile(self.name, str(path), 1.0 if self.scale is None else self.scale)


def allowed_path(stated: str, folders: Sequence[Path]) -> Path:
    """Where a path leads, links included; a relative one begins at the first folder that has it.

    Raises:
        Forbidden: that is in none of the folders. Whether there is something is not told.
        InvalidRequest: it leads in a circle, or no file system takes it.
    """
    roots = [folder.resolve() for folder in folders]
    try:
        places = [(root / stated).resolve() for root in roots]
        allowed = [place for place in places if any(place.is_relative_to(root) for root in roots)]
        found = [place for place in allowed if place.exists()]
    except (OSError, RuntimeError) as error:
        raise InvalidRequest("'path' leads nowhere.", code="unusable_adapter", parameter="path") from error
    if not allowed:
        raise Forbidden(
            "Adapters are loaded from MODEL_CACHE_DIR and the folders in ADAPTER_FOLDERS only.",
            code="path_not_allowed",
            parameter="path",
        )
    return (found or allowed)[0]


def check_adapter_files(path: Path) -> None:
    """Raises InvalidRequest where this cannot be an adapter at first sight."""
    try:
        if path.is_dir():
            looks_right = (path / PEFT_CONFIG).is_file()
        else:
            with path.open("rb") as file:
                looks_right = file.read(len(GGUF_MAGIC)) == GGUF_MAGIC
    except OSError as error:
        reason = error.strerror or "it cannot be read"
        raise InvalidRequest(
            f"There is no adapter at 'path': {reason}.", code="unusable_adapter", parameter="path"
        ) from error
    if not looks_right:
        raise InvalidRequest(
            f"'path' is neither a GGUF file nor a folder with {PEFT_CONFIG}.",
            code="unusable_adapter",
            parameter="path",
        )
