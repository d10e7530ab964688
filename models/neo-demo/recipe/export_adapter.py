"""The trained adaptation in the two forms that engines take: PEFT's folder and one GGUF file."""

import json
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from recipe.export import ARCHITECTURE
from recipe.lora import Rank, adaptations
from recipe.model import Decoder
from recipe.transformers_twin import LAYER_NAMES

NAME = "neo-demo-lettre"


def write_peft(model: Decoder, rank: Rank, folder: Path) -> None:
    """``adapter_config.json`` and ``adapter_model.safetensors``, as PEFT writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, NDArray[np.float32]] = {}
    for name, adapted in adaptations(model):
        _, layer, part = name.split(".")
        module = f"base_model.model.model.layers.{layer}.{LAYER_NAMES[part]}"
        tensors[f"{module}.lora_A.weight"] = adapted.lora_a.detach().numpy()
        tensors[f"{module}.lora_B.weight"] = adapted.lora_b.detach().numpy()
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    modules = sorted({name.split(".")[-3] for name in tensors})
    described = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "neo-demo",
        "r": rank.rank,
        "lora_alpha": rank.alpha,
        "lora_dropout": 0.0,
        "target_modules": modules,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "modules_to_save": None,
        "use_rslora": False,
        "use_dora": False,
    }
    text = json.dumps(described, indent=2) + "\n"
    (folder / "adapter_config.json").write_text(text, encoding="utf-8")


def write_adapter_gguf(model: Decoder, rank: Rank, path: Path) -> None:
    """Matrices as F16, by the names that llama.cpp's own converter gives them."""
    unfinished = path.with_suffix(".part")
    writer = gguf.GGUFWriter(unfinished, ARCHITECTURE)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_name(NAME)
    writer.add_license("MIT")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", rank.alpha)
    for name, adapted in adaptations(model):
        writer.add_tensor(f"{name}.weight.lora_a", adapted.lora_a.detach().numpy().astype(np.float16))
        writer.add_tensor(f"{name}.weight.lora_b", adapted.lora_b.detach().numpy().astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    unfinished.replace(path)
