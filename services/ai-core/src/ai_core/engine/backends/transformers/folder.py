"""A folder with a model in safetensors: whether everything is there, and whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ai_core.engine.backends.hf_vocabulary import read_json
from ai_core.engine.backends.loading import CannotLoad

CONFIG_FILE = "config.json"
INDEX_FILE = "model.safetensors.index.json"
SINGLE_FILE = "model.safetensors"
_CODE_THAT_GENERATES = "AutoModelForCausalLM"
_GENERATING = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """What a folder says about its model."""

    path: Path
    config: Mapping[str, Any]
    weights: tuple[Path, ...]

    @property
    def model_type(self) -> str:
        """The architecture's name in transformers, e.g. ``qwen3``."""
        return str(self.config.get("model_type", "unknown"))

    @property
    def own_code(self) -> bool:
        """Whether the folder brings code for its architecture."""
        return _CODE_THAT_GENERATES in self._map("auto_map")

    @property
    def text_config(self) -> Mapping[str, Any]:
        """The configuration of the part that generates text."""
        return self._map("text_config") or self.config

    @property
    def trained_context(self) -> int:
        """Tokens that the model was trained for; 0: it does not say."""
        for name in ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length"):
            value = self.text_config.get(name)
            if isinstance(value, int) and value > 0:
                return value
        return 0

    @property
    def stored_type(self) -> str:
        """How the numbers are stored: ``float32``, ``bfloat16``, …; empty: it does not say."""
        for config in (self.text_config, self.config):
            value = config.get("dtype") or config.get("torch_dtype")
            if isinstance(value, str):
                return value
        return ""

    def _map(self, name: str) -> Mapping[str, Any]:
        value = self.config.get(name)
        return value if isinstance(value, dict) else {}


def open_folder(path: Path) -> ModelFolder:
    """Read the configuration, and the beginning of every file of weights.

    Raises:
        CannotLoad: something is missing, broken, or no model that generates text.
    """
    if path.is_file():
        raise CannotLoad(f"{path} is a file; name the folder that holds {CONFIG_FILE} and the safetensors")
    if not path.is_dir():
        raise CannotLoad(f"the model folder {path} does not exist")
    config = read_json(path / CONFIG_FILE)
    if not config:
        raise CannotLoad(f"{path} has no {CONFIG_FILE}: it is no complete folder of a transformers model")
    architectures = config.get("architectures")
    if isinstance(architectures, list) and architectures:
        name = str(architectures[0])
        if not name.endswith(_GENERATING):
            raise CannotLoad(f"{path} holds a model of type {name[:80]}, which generates no text")
    folder = ModelFolder(path, config, _weights(path))
    for file in folder.weights:
        check_safetensors(file)
    return folder


def check_safetensors(path: Path) -> None:
    """Read a file's header, and compare it with the file's size.

    Raises:
        CannotLoad: the file is no whole safetensors file.
    """
    try:
        with safe_open(path, framework="np") as file:
            empty = not file.keys()
    except FileNotFoundError as error:
        raise CannotLoad(f"{path} is missing: fetch the model again") from error
    except (SafetensorError, OSError) as error:
        reason = str(error).removeprefix("Error while deserializing header: ")[:200]
        message = f"{path} is no whole safetensors file ({reason}): fetch it again"
        raise CannotLoad(message) from error
    if empty:
        raise CannotLoad(f"{path} holds no tensors: fetch it again")


def _weights(path: Path) -> tuple[Path, ...]:
    if (path / INDEX_FILE).exists():
        names = read_json(path / INDEX_FILE).get("weight_map")
        if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
            raise CannotLoad(f"{path / INDEX_FILE} lists no files: fetch it again")
        files = sorted(set(names.values()))
        if any(Path(name).name != name for name in files):
            raise CannotLoad(f"{path / INDEX_FILE} names files outside its folder")
        return tuple(path / name for name in files)
    if (path / SINGLE_FILE).exists():
        return (path / SINGLE_FILE,)
    if any(path.glob("*.bin")) or any(path.glob("*.pt")):
        raise CannotLoad(
            f"{path} holds weights in PyTorch's own format, which may run code when it is opened: use the "
            "model's safetensors files"
        )
    raise CannotLoad(f"{path} has no {SINGLE_FILE} and no {INDEX_FILE}: the weights are missing")
