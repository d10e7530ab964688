"""Engines whose packages are not installed say which command installs them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from model_twins import DEMO_MODEL, ModelTwins

WITHOUT = """
import sys
package, backend, path = sys.argv[1:]
# Python takes such an entry for a package that is not there.
sys.modules[package] = None
from ai_core.engine.backends.loading import CannotLoad
from ai_core.engine.backends.registry import load
from ai_core.engine.messages import EngineConfig
try:
    load(EngineConfig(backend=backend, model_path=path), lambda _progress: None)
except CannotLoad as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("backend", "package", "command"),
    [
        ("llama_cpp", "llama_cpp", "make llama"),
        ("openvino", "openvino_genai", "make openvino"),
        ("transformers", "torch", "make transformers"),
        ("transformers", "tokenizers", "make transformers"),
        ("onnxruntime", "onnxruntime_genai", "make onnx"),
    ],
)
def test_the_command_is_named(twins: ModelTwins, backend: str, package: str, command: str) -> None:
    path = twins.safetensors if backend == "transformers" else DEMO_MODEL
    asked = [sys.executable, "-c", WITHOUT, package, backend, str(path)]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    assert package in said
    assert f"`{command}`" in said
