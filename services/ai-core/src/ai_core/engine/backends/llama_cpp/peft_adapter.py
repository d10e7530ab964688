"""A LoRA adapter in PEFT's form, converted to the names and layout of llama.cpp.

Only a bounded set of architectures, all of whose matrices we know. What would be lost on the way (biases,
whole layers, other kinds of adapters) is refused rather than left out.
PEFT: https://huggingface.co/docs/peft/developer_guides/checkpoint
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ai_core.engine.backends.adapter_port import BadAdapter
from ai_core.engine.backends.llama_cpp.safetensors_format import BadSafetensors, Floats, read_floats

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
ARCHITECTURES = ("llama", "qwen2", "qwen3")
"""As ``general.architecture`` names them; ``llama`` includes Mistral."""
LARGEST_CONFIG = 1 << 20
MATRICES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_TENSOR = re.compile(
    r"base_model\.model\.(?P<module>lm_head|model\.layers\.(?P<layer>\d{1,5})\.(?P<part>\w+\.\w+))"
    r"\.lora_(?P<side>[AB])(?:\.default)?\.weight"
)

_PLAIN_PATTERN = re.compile(r"\^?[\w.]{1,200}")
_Number = TypeVar("_Number", int, float)

Rank = Annotated[int, Field(ge=1, le=65_536)]
Alpha = Annotated[float, Field(allow_inf_nan=False)]


class PeftConfig(BaseModel):
    """What of ``adapter_config.json`` decides the result."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    peft_type: str = ""
    r: Rank
    lora_alpha: Alpha
    bias: str = "none"
    fan_in_fan_out: bool = False
    use_rslora: bool = False
    use_dora: bool = False
    modules_to_save: list[str] | None = None
    rank_pattern: dict[str, Rank] | None = None
    alpha_pattern: dict[str, Alpha] | None = None

    def scale_of(self, module: str) -> float:
        """What B·A of a module is multiplied with."""
        rank = _by_pattern(self.rank_pattern, module, self.r)
        alpha = _by_pattern(self.alpha_pattern, module, self.lora_alpha)
        return alpha / (rank**0.5 if self.use_rslora else rank)


@dataclass(frozen=True, slots=True)
class Converted:
    """The contents of a GGUF file."""

    metadata: dict[str, str | float]
    tensors: dict[str, Floats]


def convert(folder: Path, architecture: str, heads: int, kv_heads: int) -> Converted:
    """A PEFT folder for a model of this architecture, with so many attention heads.

    Raises:
        BadAdapter: broken, or something that cannot be converted without loss.
        OSError: unreadable.
    """
    if architecture not in ARCHITECTURES:
        raise BadAdapter(
            f"PEFT adapters are converted for {', '.join(ARCHITECTURES)}, and this model is a "
            f"'{architecture}': convert it with llama.cpp's convert_lora_to_gguf.py and name the GGUF file"
        )
    config = read_config(folder)
    pairs = _pairs(_weights(folder))
    # llama.cpp multiplies with alpha / rank. Here that is 1, and each B has its module's own scale.
    tensors: dict[str, Floats] = {}
    ranks = {len(a) for _, a, _ in pairs.values()}
    alpha = float(max(ranks))
    for name, (module, a, b) in sorted(pairs.items()):
        scaled = b * np.float32(config.scale_of(module) * len(a) / alpha)
        tensors[f"{name}.weight.lora_a"] = a
        tensors[f"{name}.weight.lora_b"] = _in_llama_order(name, scaled, architecture, heads, kv_heads)
    metadata: dict[str, str | float] = {
        "general.architecture": architecture,
        "general.type": "adapter",
        "adapter.type": "lora",
        "adapter.lora.alpha": alpha,
    }
    return Converted(metadata, tensors)


def read_config(folder: Path) -> PeftConfig:
    """Raises BadAdapter where it is missing, broken, or describes something that is not plain LoRA."""
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise BadAdapter(f"the folder {folder} has no {CONFIG_FILE}")
    with path.open("rb") as file:
        text = file.read(LARGEST_CONFIG + 1)
    try:
        config = PeftConfig.model_validate(json.loads(text))
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in details["loc"])
        raise BadAdapter(f"'{place}' in {path}: {details['msg']}") from error
    except (ValueError, RecursionError) as error:
        raise BadAdapter(f"{path} is no JSON") from error
    _refuse_what_would_be_lost(config)
    return config


def _refuse_what_would_be_lost(config: PeftConfig) -> None:
    if config.peft_type != "LORA":
        raise BadAdapter(f"it is of PEFT's kind '{config.peft_type[:40]}', and only LORA can be converted")
    if config.use_dora:
        raise BadAdapter("it is a DoRA adapter, which cannot be converted")
    if config.bias != "none":
        raise BadAdapter("it has biases ('bias' is not 'none'), which cannot be converted")
    if config.fan_in_fan_out:
        raise BadAdapter("its matrices are transposed ('fan_in_fan_out'), which cannot be converted")
    if config.modules_to_save:
        raise BadAdapter("it replaces whole layers ('modules_to_save'), which cannot be converted")


def _weights(folder: Path) -> dict[str, Floats]:
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise BadAdapter(f"the folder {folder} has no {WEIGHTS_FILE}")
    try:
        return read_floats(path)
    except BadSafetensors as error:
        raise BadAdapter(f"{path} is broken: {error}") from error


def _pairs(weights: Mapping[str, Floats]) -> dict[str, tuple[str, Floats, Floats]]:
    """By llama.cpp's name: PEFT's name of the module, A and B."""
    sides: dict[str, dict[str, Floats]] = {}
    modules: dict[str, str] = {}
    for tensor, values in weights.items():
        found = _TENSOR.fullmatch(tensor)
        name = None if found is None else _llama_name(found["layer"], found["part"])
        if found is None or name is None:
            raise BadAdapter(f"its tensor '{tensor[:120]}' cannot be converted: its place is unknown")
        if values.ndim != 2:
            raise BadAdapter(f"its tensor '{tensor[:120]}' is no matrix")
        sides.setdefault(name, {})[found["side"]] = values
        modules[name] = found["module"]
    if not sides:
        raise BadAdapter("it holds no matrices")
    for name, both in sides.items():
        if both.keys() != {"A", "B"} or len(both["A"]) != both["B"].shape[1]:
            raise BadAdapter(f"its matrices A and B of '{modules[name]}' do not fit each other")
    return {name: (modules[name], both["A"], both["B"]) for name, both in sides.items()}


def _llama_name(layer: str | None, part: str | None) -> str | None:
    if layer is None or part is None:
        return "output"
    matrix = MATRICES.get(part)
    return None if matrix is None else f"blk.{int(layer)}.{matrix}"


def _in_llama_order(name: str, b: Floats, architecture: str, heads: int, kv_heads: int) -> Floats:
    """llama.cpp turns neighbouring rows of queries and keys where Llama's own code turns halves of a head,
    so the rows of these matrices stand in another order in files of this architecture (and only there)."""
    groups = {"attn_q": heads, "attn_k": kv_heads}.get(name.rpartition(".")[2])
    if architecture != "llama" or groups is None:
        return np.ascontiguousarray(b)
    if len(b) % (2 * groups):
        raise BadAdapter(f"its matrix for '{name}' has {len(b)} rows, which does not fit {groups} heads")
    halves = b.reshape(groups, 2, len(b) // groups // 2, b.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(b.shape))


def _by_pattern(patterns: Mapping[str, _Number] | None, module: str, otherwise: _Number) -> _Number:
    """PEFT's rule: a name counts for each module that it is, or that ends with it after a dot; with ``^``
    in front, for that module only. PEFT takes expressions, too: those are refused."""
    for pattern, value in (patterns or {}).items():
        if _PLAIN_PATTERN.fullmatch(pattern) is None:
            raise BadAdapter(f"'{pattern[:80]}' in {CONFIG_FILE} is an expression, which cannot be converted")
        name = pattern.removeprefix("^")
        if module == name or (name == pattern and module.endswith(f".{name}")):
            return value
    return otherwise
