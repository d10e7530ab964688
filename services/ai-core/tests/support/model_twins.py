"""The demo model in every format, made once per session from its GGUF file; and broken copies of them.

The workspace's conftest imports this, so what is heavy is imported when a twin is made.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

DEMO_MODEL = Path(__file__).resolve().parents[4] / "models/neo-demo/neo-demo.gguf"


@dataclass(frozen=True)
class ModelTwins:
    """Each is made when it is asked for first."""

    folder: Path

    @cached_property
    def gguf(self) -> Path:
        """As GGUF, all numbers F32."""
        from gguf_twin import write_f32_twin

        target = self.folder / "neo-demo-f32.gguf"
        write_f32_twin(DEMO_MODEL, target)
        return target

    @cached_property
    def safetensors(self) -> Path:
        """As transformers wants it, F32."""
        from gguf_twin import demo_recipe

        target = self.folder / "safetensors"
        with demo_recipe() as to_transformers:
            to_transformers(DEMO_MODEL, target)
        return target

    @cached_property
    def onnx(self) -> Path:
        """As onnxruntime-genai's own builder exports it, F32. Takes some seconds."""
        target = self.folder / "onnx"
        builder = [sys.executable, "-m", "onnxruntime_genai.models.builder"]
        places = ["-i", str(self.safetensors), "-o", str(target), "-c", str(self.folder / "builder")]
        environment = os.environ | {"HF_HUB_OFFLINE": "1"}
        done = subprocess.run(
            [*builder, *places, "-p", "fp32", "-e", "cpu"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return target


@pytest.fixture(scope="session")
def twins(tmp_path_factory: pytest.TempPathFactory) -> ModelTwins:
    """The demo model in every format."""
    return ModelTwins(tmp_path_factory.mktemp("twins"))


def copy_of(folder: Path, target: Path) -> Path:
    """A copy of a model's folder that a test may spoil; weights are linked, so replace them, don't write."""
    shutil.copytree(folder, target, copy_function=os.link)
    return target


def replace(path: Path, content: bytes) -> None:
    """Put other content into the place of a file that may be linked elsewhere."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def change_json(path: Path, **fields: Any) -> None:
    """Give the object in a JSON file other values; None removes one."""
    content = json.loads(path.read_bytes()) | fields
    replace(path, json.dumps({name: value for name, value in content.items() if value is not None}).encode())


def lie_in_header(path: Path, name: str, **fields: Any) -> None:
    """Let a safetensors file's header say something else of one tensor."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    header[name] |= fields
    changed = json.dumps(header).encode()
    replace(path, struct.pack("<Q", len(changed)) + changed + data[8 + length :])
