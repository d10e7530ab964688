"""What is done again and what is not; making the environment and pip itself are stood in for."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import setup_environment
from workspace_setup import commands, engines, llama, servers, stages, system
from workspace_setup.errors import SetupError
from workspace_setup.system import Interpreter
from workspace_setup.workspace import Workspace

BASE = ["build", "packages", "own"]
RUN = [*BASE, "openvino"]
LLAMA = ["llama-tools", "llama"]
TEST = [*RUN, "onnx", "transformers", "test", "torch", *LLAMA]
INTERPRETER = Interpreter(sys.executable, sys.version_info[:3], True)
LOCKS = {
    "build.txt": "hatchling==1 \\\n    --hash=sha256:ff\n",
    "run.txt": "httpx==1 \\\n    --hash=sha256:aa\n",
    "llama.txt": "cmake==4 \\\n    --hash=sha256:ab\nllama-cpp-python==0.3.36 \\\n    --hash=sha256:bb\n",
    "openvino.txt": "openvino-genai==2026 \\\n    --hash=sha256:cc\n",
    "onnx.txt": "onnxruntime-genai==1 \\\n    --hash=sha256:dd\n",
    "transformers.txt": "transformers==5 \\\n    --hash=sha256:ee\n",
    "test.txt": "pytest==9 \\\n    --hash=sha256:ff\n",
    "torch.txt": "torch\n",
}


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    for name, text in LOCKS.items():
        write(tmp_path / "requirements" / name, text)
    write(tmp_path / "tools" / "llama_cpp_build.cmake", "")
    for path in stages.OWN_PACKAGES:
        write(tmp_path / path / "pyproject.toml", "")
    workspace = Workspace(tmp_path)

    def pretend(command: Sequence[str | Path], log: Path, failure: str, *more: object) -> None:
        if "venv" in map(str, command):
            workspace.python.parent.mkdir(parents=True)
            workspace.python.symlink_to(sys.executable)

    monkeypatch.setattr(commands, "run", pretend)
    monkeypatch.setattr(llama, "build", lambda workspace, entry, label: None)
    monkeypatch.setattr(llama, "install", lambda workspace, entry: None)
    monkeypatch.setattr(servers, "missing", list)
    return workspace


@pytest.fixture
def whole_machine(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """An x86-64 machine that lacks nothing; the list tells for each set-up whether it wanted compilers."""
    asked: list[bool] = []

    def ensure_system(log: Path, compiling: bool) -> Interpreter:
        asked.append(compiling)
        return INTERPRETER

    monkeypatch.setattr(system, "ensure_system", ensure_system)
    monkeypatch.setattr(engines, "openvino_runs", lambda machine, libc: True)
    monkeypatch.setattr(engines, "lacking", lambda workspace, kept: [])
    return asked


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def pending(workspace: Workspace, *wanted: str) -> list[str]:
    return [stage.name for stage in stages.pending(workspace, wanted)]


def set_up(workspace: Workspace, *wanted: str) -> list[str]:
    """The stages that one run carries out."""
    stages.prepare(workspace, INTERPRETER, wanted)
    todo = stages.pending(workspace, wanted)
    for stage in todo:
        stages.carry_out(workspace, stage, "")
    return [stage.name for stage in todo]


def test_everything_once_and_then_nothing(workspace: Workspace) -> None:
    assert pending(workspace, *stages.EVERYTHING) == TEST
    assert set_up(workspace, *stages.EVERYTHING) == TEST
    assert pending(workspace, *stages.EVERYTHING) == []
    assert pending(workspace, "openvino") == []


def test_each_engine_comes_on_top_of_what_is_there(workspace: Workspace) -> None:
    assert set_up(workspace) == BASE
    marker = workspace.environment / "marker"
    marker.touch()
    assert set_up(workspace, "openvino") == ["openvino"]
    assert set_up(workspace, "transformers") == ["transformers", "torch"]
    assert set_up(workspace, "onnx") == ["onnx"]
    assert set_up(workspace, "llama") == LLAMA
    assert set_up(workspace, *stages.EVERYTHING) == ["test"]
    assert marker.exists()


def test_another_lock_makes_the_environment_anew(workspace: Workspace) -> None:
    set_up(workspace, *stages.EVERYTHING)
    marker = workspace.environment / "marker"
    marker.touch()
    write(workspace.root / "requirements" / "test.txt", "pytest==10 \\\n    --hash=sha256:dd\n")
    assert pending(workspace, "openvino") == []
    assert pending(workspace, *stages.EVERYTHING) == ["test"]
    assert set_up(workspace, *stages.EVERYTHING) == TEST
    assert not marker.exists()


def test_engines_that_were_installed_come_back_with_other_locks(workspace: Workspace) -> None:
    set_up(workspace, "openvino", "onnx")
    write(workspace.root / "requirements" / "run.txt", "httpx==2 \\\n    --hash=sha256:dd\n")
    write(workspace.root / "requirements" / "onnx.txt", "onnxruntime-genai==2 \\\n    --hash=sha256:dd\n")
    assert stages.kept(workspace) == ["openvino", "onnx"]
    assert set_up(workspace, *stages.kept(workspace)) == [*RUN, "onnx"]


def test_a_members_pyproject_is_installed_in_place(workspace: Workspace) -> None:
    set_up(workspace, *stages.EVERYTHING)
    marker = workspace.environment / "marker"
    marker.touch()
    write(workspace.root / stages.OWN_PACKAGES[0] / "pyproject.toml", "# changed")
    assert set_up(workspace, *stages.EVERYTHING) == ["own"]
    assert marker.exists()


def test_what_was_broken_off_is_not_trusted(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken_off(workspace: Workspace, entry: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(llama, "install", broken_off)
        with pytest.raises(KeyboardInterrupt):
            set_up(workspace, "llama")
    assert stages.kept(workspace) == []
    assert pending(workspace, "llama") == ["llama"]
    assert set_up(workspace, "llama") == [*BASE, *LLAMA]


def test_a_failed_compilation_leaves_the_environment_good(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(workspace: Workspace, entry: str, label: str) -> None:
        raise SetupError("no compiler")

    with monkeypatch.context() as patch:
        patch.setattr(llama, "build", failing)
        with pytest.raises(SetupError):
            set_up(workspace, "llama")
    assert set_up(workspace, "llama") == ["llama"]


def test_servers_are_for_the_tests_only_and_looked_for_each_time(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = ["Redis"]
    monkeypatch.setattr(servers, "missing", lambda: list(absent))
    monkeypatch.setattr(servers, "install", lambda log: absent.clear())
    assert set_up(workspace, "openvino") == RUN
    assert set_up(workspace, "test") == ["servers", "test", "torch"]
    assert pending(workspace, "test") == []
    marker = workspace.environment / "marker"
    marker.touch()
    absent.append("Redis")
    assert set_up(workspace, "test") == ["servers"]
    assert marker.exists()


def test_an_environment_of_another_origin_is_replaced(workspace: Workspace) -> None:
    write(workspace.environment / "bin" / "python", "not ours")
    assert set_up(workspace, "openvino") == RUN


def test_a_workspace_that_was_moved_is_set_up_again(workspace: Workspace, tmp_path: Path) -> None:
    set_up(workspace, "openvino")
    moved = Workspace(workspace.root.rename(tmp_path.with_name(f"{tmp_path.name}-moved")))
    assert stages.kept(moved) == ["openvino"]
    assert pending(moved, *stages.kept(moved)) == RUN


@pytest.mark.parametrize("name", ["CMAKE_ARGS", "CC", "CXXFLAGS"])
def test_other_build_options_are_another_build(
    workspace: Workspace, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(name, raising=False)
    before = llama.key(workspace, "llama-cpp-python==1")
    monkeypatch.setenv(name, "-DGGML_CUDA=on")
    assert llama.key(workspace, "llama-cpp-python==1") != before


def test_another_version_and_other_options_of_ours_are_another_build(workspace: Workspace) -> None:
    before = llama.key(workspace, "llama-cpp-python==1")
    assert llama.key(workspace, "llama-cpp-python==2") != before
    write(workspace.root / "tools" / "llama_cpp_build.cmake", "# changed")
    after = llama.key(workspace, "llama-cpp-python==1")
    assert after != before
    assert llama.key(workspace, "llama-cpp-python==1\n    # via -r requirements/other.in") == after
    write(workspace.root / "services" / "ai-core" / "native" / "kernel.cpp", "// changed")
    assert llama.key(workspace, "llama-cpp-python==1") not in {before, after}


def test_the_users_cmake_arguments_come_last() -> None:
    arguments = llama.cmake_args(Path("/a b/options.cmake"), "-DLLAVA_BUILD=ON")
    assert arguments.endswith(" -DLLAVA_BUILD=ON")
    assert "='/a b/options.cmake' " in arguments


@pytest.mark.parametrize(
    ("profile", "done"),
    [
        ("base", BASE),
        ("run", RUN),
        ("llama", [*BASE, *LLAMA]),
        ("transformers", [*BASE, "transformers", "torch"]),
        ("test", TEST),
    ],
)
def test_each_profile_installs_what_it_is_for(
    workspace: Workspace, whole_machine: list[bool], profile: str, done: list[str]
) -> None:
    setup_environment.set_up(workspace, profile)
    assert pending(workspace, *stages.EVERYTHING) == [name for name in TEST if name not in done]
    assert whole_machine == ["llama" in done]


def test_run_compiles_llama_cpp_only_when_a_model_needs_it(
    workspace: Workspace,
    whole_machine: list[bool],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    setup_environment.set_up(workspace, "run")
    monkeypatch.setattr(engines, "lacking", lambda workspace, kept: ["llama"])
    setup_environment.set_up(workspace, "run")
    assert stages.kept(workspace) == ["openvino", "llama"]
    assert whole_machine == [False, True]
    assert "The models that are configured need llama.cpp." in capsys.readouterr().out


def test_who_compiled_llama_cpp_first_gets_no_other_engine(
    workspace: Workspace, whole_machine: list[bool]
) -> None:
    setup_environment.set_up(workspace, "llama")
    setup_environment.set_up(workspace, "run")
    assert stages.kept(workspace) == ["llama"]
