"""What a service imports is in its image; an environment that holds everything hides what is missing."""

from __future__ import annotations

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
OWN = {"servicekit", "ai_core", "telegram_service", "mail_service"}
# Engines and the converter are installed apart: the module of a backend alone imports them.
ENGINES = {
    *("llama_cpp", "llguidance", "openvino", "openvino_genai", "onnxruntime_genai", "torch", "transformers"),
    *("gguf", "peft", "numpy", "safetensors", "tokenizers", "sentencepiece", "cpuinfo", "optimum"),
}


def _imported(folder: Path) -> set[str]:
    names = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - OWN


@pytest.mark.parametrize("service", ["ai-core", "telegram", "mail"])
def test_the_lock_of_an_image_names_what_its_code_imports(service: str) -> None:
    imported = _imported(ROOT / "services" / service / "src") | _imported(ROOT / "libs/servicekit/src")
    lock = (ROOT / "services" / service / "requirements.txt").read_text()
    locked = set(re.findall(r"^([a-z0-9.-]+)==", lock, re.MULTILINE))
    distributions = packages_distributions()
    missing = {
        module
        for module in imported - ENGINES
        if not {re.sub(r"[-_.]+", "-", name).lower() for name in distributions.get(module, [])} & locked
    }
    assert not missing
