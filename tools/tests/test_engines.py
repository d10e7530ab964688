"""Which engine `make run` installs. The AI core that is asked is stood in for; its own tests ask it."""

import platform
from pathlib import Path

import pytest

from workspace_setup import engines
from workspace_setup.workspace import Workspace


@pytest.mark.parametrize(
    ("machine", "libc", "runs"),
    [
        ("x86_64", "glibc", True),
        ("AMD64", "glibc", True),
        ("x86_64", "", False),  # musl has no wheels
        ("riscv64", "glibc", False),
        ("aarch64", "glibc", False),
    ],
)
def test_where_the_wheels_run(machine: str, libc: str, runs: bool) -> None:
    assert engines.openvino_runs(machine, libc) is runs


def test_a_fresh_machine_gets_the_engine_that_needs_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert engines.first(kept=[]) == ("openvino",)
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert engines.first(kept=[]) == ("llama",)


@pytest.mark.parametrize("kept", [["llama"], ["openvino"], ["onnx", "llama"]])
def test_who_has_chosen_an_engine_gets_no_other(kept: list[str]) -> None:
    assert engines.first(kept) == ()


def test_engines_for_other_formats_do_not_serve_the_demo_model() -> None:
    assert engines.first(["onnx", "transformers"]) != ()


@pytest.mark.parametrize(
    ("answer", "kept", "lacking"),
    [
        ("echo llama", ["openvino"], ["llama"]),
        ("echo llama; echo openvino", ["openvino"], ["llama"]),
        ("echo llama", ["openvino", "llama"], []),
        ("true", ["openvino"], []),
        ("echo something else", [], []),
        ("echo llama; exit 1", [], []),
    ],
)
def test_what_the_models_need_besides(
    tmp_path: Path, answer: str, kept: list[str], lacking: list[str]
) -> None:
    workspace = Workspace(tmp_path)
    workspace.python.parent.mkdir(parents=True)
    workspace.python.write_text(f"#!/bin/sh\n{answer}\n")
    workspace.python.chmod(0o755)
    assert engines.lacking(workspace, kept) == lacking


def test_without_an_environment_nothing_can_be_told(tmp_path: Path) -> None:
    assert engines.lacking(Workspace(tmp_path), []) == []
