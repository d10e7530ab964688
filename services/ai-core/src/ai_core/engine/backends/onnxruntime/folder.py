"""A folder with a model in ONNX, as onnxruntime-genai wants it. Pure but for reading one file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ai_core.engine.backends.hf_vocabulary import read_json
from ai_core.engine.backends.loading import CannotLoad

CONFIG_FILE = "genai_config.json"
_LIBRARIES = (".so", ".dll", ".dylib")
_WEIGHTS = ("*.onnx", "*.onnx.data", "*.onnx_data")


@dataclass(frozen=True, slots=True)
class OnnxFolder:
    """What a folder says about its model."""

    path: Path
    model: Mapping[str, Any]
    """Of its configuration, the part ``model``."""

    @property
    def model_type(self) -> str:
        """The architecture's name in onnxruntime-genai, e.g. ``qwen3``."""
        return str(self.model.get("type", "unknown"))

    @property
    def trained_context(self) -> int:
        """Tokens that the model was made for; 0: it does not say."""
        value = self.model.get("context_length")
        return value if isinstance(value, int) and value > 0 else 0

    @property
    def end_tokens(self) -> list[int]:
        """Ids that end an answer."""
        value = self.model.get("eos_token_id")
        values = value if isinstance(value, list) else [value]
        return [token for token in values if isinstance(token, int)]

    @property
    def weights_bytes(self) -> int:
        """What the files of weights take on the disk."""
        return sum(file.stat().st_size for pattern in _WEIGHTS for file in self.path.glob(pattern))


def open_folder(path: Path) -> OnnxFolder:
    """Read the configuration.

    Raises:
        CannotLoad: something is missing or broken, or would run machine code from the folder.
    """
    if path.is_file():
        raise CannotLoad(f"{path} is a file; name the folder that holds {CONFIG_FILE} and the ONNX files")
    if not path.is_dir():
        raise CannotLoad(f"the model folder {path} does not exist")
    model = read_json(path / CONFIG_FILE).get("model")
    if not isinstance(model, dict):
        raise CannotLoad(
            f"{path} has no {CONFIG_FILE} that describes a model: export it with onnxruntime-genai's model "
            "builder (python -m onnxruntime_genai.models.builder)"
        )
    empty = [file for pattern in _WEIGHTS for file in path.glob(pattern) if not file.stat().st_size]
    if empty:
        raise CannotLoad(f"{empty[0]} is empty: the download or copy was cut short; fetch it again")
    library = next((text for text in _texts(model) if text.endswith(_LIBRARIES)), None)
    if library is not None:
        raise CannotLoad(
            f"{path / CONFIG_FILE} names a library of machine code ({library[:60]}), so it is not served"
        )
    return OnnxFolder(path, model)


def _texts(value: Any) -> Iterator[str]:
    parts = [value]
    while parts:
        match parts.pop():
            case str(text):
                yield text
            case list(entries):
                parts += entries
            case dict(entries):
                parts += entries.values()
