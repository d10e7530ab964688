"""What `make run` installs for the models that are configured."""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from ai_core.catalog import lacking_engines
from ai_core.catalog.engine_choice import Machine
from ai_core.catalog.facts import FileFacts
from ai_core.catalog.lacking_engines import lacking
from ai_core.catalog.models import EngineChoice, ModelEntry, ModelType

ROOT = Path(__file__).resolve().parents[4]
FRESH = Machine(llama_cpp=False, openvino=True)
QWEN = FileFacts(
    form="gguf",
    architecture="qwen3",
    quantization="Q8_0",
    has_file_type=True,
    matrices=frozenset({"Q8_0"}),
    tokenizer="gpt2/qwen2",
)
GEMMA = FileFacts(form="gguf", architecture="gemma3", quantization="Q8_0", has_file_type=True)
ABSENT = FileFacts(problem="There is no such file.")


def entry(name: str, type_: ModelType = "gguf", engine: EngineChoice = "auto") -> ModelEntry:
    return ModelEntry(name, Path(name), type=type_, engine=engine)


def asked(
    facts: FileFacts, *entries: ModelEntry, machine: Machine = FRESH, max_sequences: int = 16
) -> list[str]:
    return lacking(entries, lambda entry: facts, machine, max_sequences)


@pytest.mark.parametrize("max_sequences", [1, 16])
def test_nothing_is_compiled_for_what_the_engine_that_is_there_can_read(max_sequences: int) -> None:
    assert asked(QWEN, entry("qwen"), max_sequences=max_sequences) == []


def test_llama_cpp_is_compiled_for_what_only_it_can_read() -> None:
    assert asked(GEMMA, entry("gemma"), entry("another")) == ["llama"]
    assert asked(GEMMA, entry("gemma"), machine=Machine(llama_cpp=True)) == []


def test_the_models_file_decides() -> None:
    assert asked(QWEN, entry("qwen", engine="llama.cpp")) == ["llama"]
    assert asked(QWEN, entry("qwen", engine="openvino"), machine=Machine()) == ["openvino"]
    assert asked(ABSENT, entry("to be fetched", engine="llama.cpp")) == ["llama"]


def test_a_model_that_is_not_here_yet_or_no_gguf_is_no_reason_to_compile() -> None:
    assert asked(ABSENT, entry("to be fetched")) == []
    assert asked(QWEN, entry("folder", "transformers"), entry("far", "remote"), entry("o", "onnx")) == []


def ask(tmp_path: Path, settings: Iterable[tuple[str, str]]) -> subprocess.CompletedProcess[str]:
    """As the set-up asks, on this machine, where every engine is installed."""
    return subprocess.run(
        [sys.executable, "-m", "ai_core.catalog.lacking_engines"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], **dict(settings)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("backend", ["auto", "llama_cpp", "openvino", "scripted"])
def test_asked_as_the_set_up_asks(tmp_path: Path, backend: str) -> None:
    demo = str(ROOT / "models/neo-demo/neo-demo.gguf")
    done = ask(tmp_path, [("MODEL_PATH", demo), ("ENGINE_BACKEND", backend)])
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_setting_decides_where_the_models_file_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODEL_PATH", str(ROOT / "models/neo-demo/neo-demo.gguf"))
    monkeypatch.setattr(lacking_engines, "this_machine", lambda **_: FRESH)
    assert lacking_engines.main() == 0
    assert capsys.readouterr().out == ""
    monkeypatch.setenv("ENGINE_BACKEND", "llama_cpp")
    assert lacking_engines.main() == 0
    assert capsys.readouterr().out == "llama\n"


@pytest.mark.parametrize("settings", [[], [("MODEL_PATH", "/no/such.gguf")], [("API_PORT", "many")]])
def test_what_is_wrong_with_the_settings_is_left_to_the_server(
    tmp_path: Path, settings: list[tuple[str, str]]
) -> None:
    done = ask(tmp_path, settings)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
