"""What onnxruntime-genai is told to load, and what it is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ai_core.engine.backends.loading import CannotLoad
from ai_core.engine.backends.registry import load
from ai_core.engine.messages import AdapterFile, EngineConfig
from model_twins import ModelTwins, copy_of, replace


def refusal(path: Path, **config: Any) -> str:
    with pytest.raises(CannotLoad) as caught:
        load(EngineConfig(backend="onnxruntime", model_path=str(path), threads=1, **config), lambda _: None)
    return str(caught.value)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"adapters": [AdapterFile("a", "/a")]}, "without LoRA adapters"),
        ({"quantization": "4bit"}, "cannot be quantized to '4bit' while it is loaded"),
        ({"device": "cuda"}, "onnxruntime cannot load"),
        ({"context_length": 4096}, "context_length 4096 is more than the model's 2048 tokens"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    twins: ModelTwins, config: dict[str, Any], sentence: str
) -> None:
    assert sentence in refusal(twins.onnx, **config)


def test_machine_code_from_the_folder_is_not_loaded(twins: ModelTwins, tmp_path: Path) -> None:
    folder = copy_of(twins.onnx, tmp_path / "copy")
    config = json.loads((folder / "genai_config.json").read_bytes())
    config["model"]["decoder"]["session_options"]["custom_ops_library"] = "libown.so"
    replace(folder / "genai_config.json", json.dumps(config).encode())
    assert "library of machine code (libown.so)" in refusal(folder)


def test_a_tokenizer_of_another_model_is_noticed(twins: ModelTwins, tmp_path: Path) -> None:
    folder = copy_of(twins.onnx, tmp_path / "copy")
    described = json.loads((folder / "tokenizer.json").read_bytes())
    described["added_tokens"] += [
        {**described["added_tokens"][0], "id": 4096 + number, "content": f"<|more{number}|>"}
        for number in range(3)
    ]
    replace(folder / "tokenizer.json", json.dumps(described).encode())
    assert "a tokenizer of 4099 tokens and a model of 4096" in refusal(folder)


def test_a_file_in_place_of_a_folder_is_explained(twins: ModelTwins, tmp_path: Path) -> None:
    assert "name the folder" in refusal(twins.onnx / "model.onnx")
    assert "does not exist" in refusal(tmp_path / "nowhere")
