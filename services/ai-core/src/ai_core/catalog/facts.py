"""What a model's files say of it, read without any inference library: enough to choose an engine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ai_core.catalog.gguf_header import BadHeader, GgufHeader, read_header
from ai_core.catalog.models import ModelType

Form = Literal["gguf", "safetensors", "openvino", "onnx", "unknown"]
MAX_CONFIG_BYTES = 4_194_304
IR_FILES = ("openvino_model.xml", "openvino_language_model.xml")
# fmt: off
FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K",
    19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL",
    26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0",
    37: "TQ2_0", 38: "MXFP4_MOE", 39: "NVFP4", 40: "Q1_0",
}
"""``general.file_type`` of GGUF (``llama_ftype``), by number."""
# fmt: on


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """What is not known is empty or 0."""

    form: Form = "unknown"
    architecture: str = ""
    """``llama``, ``qwen3``, …: GGUF's ``general.architecture``, or ``model_type`` of a config.json."""
    quantization: str = ""
    """``Q8_0``, ``F16``, …; of safetensors what the config says they are stored in."""
    has_file_type: bool = False
    """A GGUF file says in which quantization it is; OpenVINO's reader needs that."""
    matrices: frozenset[str] = frozenset()
    """In which quantizations the matrices of a GGUF file are: often more than one."""
    tokenizer: str = ""
    """Of a GGUF file: kind and way of cutting words, e.g. ``gpt2/qwen2``."""
    peculiarity: str = ""
    """What a reader that knows only the plain form of its architecture would pass over."""
    embedding: bool = False
    """It makes vectors instead of text."""
    trained_context: int = 0
    """Tokens."""
    parameters: int = 0
    size: int = 0
    """Bytes on the disk."""
    problem: str = ""
    """Why the files cannot be a model, as far as can be seen from outside."""


def facts_of(type_: ModelType, path: Path) -> FileFacts:
    """What the file or folder of a model says; reads the beginning of a GGUF file, of a folder a config."""
    try:
        if type_ == "gguf":
            return gguf_facts(read_header(path))
        return _folder_facts(type_, path)
    except BadHeader as error:
        return FileFacts(form="gguf", problem=f"{path.name} is not a usable GGUF file: {error}.")
    except OSError as error:
        return FileFacts(problem=f"{path.name} cannot be read ({error.strerror}).")


def gguf_facts(header: GgufHeader) -> FileFacts:
    """What the header of a GGUF file says."""
    architecture = header.text("general.architecture")
    file_type = header.metadata.get("general.file_type")
    named = FILE_TYPES.get(file_type, "") if isinstance(file_type, int) else ""
    return FileFacts(
        form="gguf",
        architecture=architecture,
        quantization=named or header.main_type,
        has_file_type=file_type is not None,
        matrices=header.matrices,
        tokenizer=f"{header.text('tokenizer.ggml.model')}/{header.text('tokenizer.ggml.pre')}",
        peculiarity=_peculiarity(header, architecture),
        embedding=header.whole(f"{architecture}.pooling_type") > 0
        or header.metadata.get(f"{architecture}.attention.causal") is False,
        trained_context=header.whole(f"{architecture}.context_length"),
        parameters=header.parameters,
        size=header.size,
    )


def _peculiarity(header: GgufHeader, architecture: str) -> str:
    if header.rope_factors or header.text(f"{architecture}.rope.scaling.type") not in {"", "none"}:
        return "scales its positions"
    if header.whole(f"{architecture}.expert_count"):
        return "has experts"
    if header.metadata.get(f"{architecture}.attention.sliding_window"):
        return "looks back through a window"
    return ""


def _folder_facts(type_: ModelType, path: Path) -> FileFacts:
    if not path.is_dir():
        return FileFacts(problem=f"{path.name} is no folder; models of type '{type_}' are folders.")
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    config = _config(path / "config.json")
    form: Form = "unknown"
    problem = ""
    if any((path / name).is_file() for name in IR_FILES):
        form = "openvino"
    elif type_ == "onnx":
        form = "onnx"
        if not (path / "genai_config.json").is_file():
            problem = f"{path.name} has no genai_config.json, which onnxruntime-genai needs."
    elif any(path.glob("*.safetensors")):
        form = "safetensors"
    else:
        problem = f"{path.name} holds no .safetensors files."
    context = config.get("max_position_embeddings")
    return FileFacts(
        form=form,
        architecture=str(config.get("model_type", "")),
        quantization=str(config.get("torch_dtype") or config.get("dtype") or ""),
        trained_context=context if isinstance(context, int) else 0,
        size=size,
        problem=problem,
    )


def _config(path: Path) -> Mapping[str, Any]:
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            return {}
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
