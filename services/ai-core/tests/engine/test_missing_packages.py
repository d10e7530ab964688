"""Where an engine's packages are not installed, it says which command installs them."""

import subprocess
import sys

import pytest

# In a process of its own: in this one the packages have long been imported.
PROGRAM = """
import sys
package, backend = sys.argv[1:]
sys.modules[package] = None  # as if it were not there
from ai_core.engine.backends.loading import CannotLoad
from ai_core.engine.backends.registry import load
from ai_core.engine.messages import EngineConfig
try:
    load(EngineConfig(backend=backend, model_path="model"), lambda share: None)
except CannotLoad as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("backend", "package", "command"),
    [
        ("llama_cpp", "llama_cpp", "make llama"),
        ("openvino", "openvino_genai", "make openvino"),
        ("transformers", "transformers", "make transformers"),
        ("transformers", "torch", "make transformers"),
        ("onnxruntime", "onnxruntime_genai", "make onnx"),
    ],
)
def test_the_command_is_named(backend: str, package: str, command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, package, backend], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"this model needs the package {package}: run `{command}` to install it\n"
