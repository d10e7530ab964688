"""Models that are too large as they are stored are brought into a smaller form, once."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import msgspec

from ai_core.catalog.models import ModelEntry
from ai_core.catalog.quantized import described, file_type_number, quantized_name, quantized_path
from ai_core.catalog.quantizing import CannotQuantize, quantized
from ai_core.engine.messages import EngineConfig
from ai_core.residency.shrinking import SmallerForm
from servicekit.logging import get_logger

_log = get_logger(__name__)


class CannotShrink(Exception):
    """There is no smaller form; the text says why."""


class Shrinker(Protocol):
    """Makes smaller forms of models."""

    async def shrink(self, entry: ModelEntry, config: EngineConfig, form: SmallerForm) -> EngineConfig:
        """How the engine is started with the model in this form, which is on the disk from then on.

        Raises:
            CannotShrink.
        """


class DiskShrinker:
    """GGUF files are quantized by llama.cpp's own quantizer and kept under ``models_dir``, where they are
    listed as models of their own. Folders are converted by OpenVINO's engine when it loads them, and kept."""

    def __init__(self, models_dir: Path) -> None:
        self._models_dir = models_dir

    async def shrink(self, entry: ModelEntry, config: EngineConfig, form: SmallerForm) -> EngineConfig:
        """See :class:`Shrinker`."""
        source = Path(config.model_path)
        if source.suffix == ".gguf":
            path = await self._quantized(entry, config, source, form)
            return msgspec.structs.replace(config, model_path=str(path))
        if config.backend == "openvino":
            return msgspec.structs.replace(config, quantization=form.name)
        raise CannotShrink(f"{config.backend} computes models as they are stored")

    async def _quantized(
        self, entry: ModelEntry, config: EngineConfig, source: Path, form: SmallerForm
    ) -> Path:
        file_type = form.openvino_file_type if config.backend == "openvino" else form.file_type
        number = file_type_number(file_type)
        assert number is not None, "llama.cpp knows the types of all forms"
        name = quantized_name(entry.name, file_type)
        target = quantized_path(self._models_dir, name)
        if _is_up_to_date(target, source):
            return target
        _log.info("model_converting", model=entry.name, form=file_type, path=str(target))
        try:
            async for _ in quantized(source, target, (name, entry.name, file_type, number)):
                pass
        except CannotQuantize as error:
            raise CannotShrink(str(error)) from error
        _log.info("model_converted", model=entry.name, form=file_type, listed_as=name)
        return target


def _is_up_to_date(target: Path, source: Path) -> bool:
    try:
        return described(target) is not None and target.stat().st_mtime >= source.stat().st_mtime
    except OSError:
        return False
