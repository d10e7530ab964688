"""What is done again and what is not; making the environment and pip itself are stood in for."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from workspace_setup import commands, llama, servers, stages
from workspace_setup.errors import SetupError
from workspace_setup.system import Interpreter
from workspace_setup.workspace import Workspace

RUN = ["packages", "llama", "own"]
TEST = [*RUN, "test", "torch"]
INTERPRETER = Interpreter(sys.executable, sys.version_info[:3], True)
LOCK = "httpx==1 \\\n    --hash=sha256:aa\nllama-cpp-python==0.3.36 \\\n    --hash=sha256:bb\n"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    for name, text in (
        ("run.txt", LOCK),
        ("test.txt", "pytest==9 \\\n    --hash=sha256:cc\n"),
        ("torch.txt", "torch\n"),
    ):
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


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def pending(workspace: Workspace, with_tests: bool) -> list[str]:
    return [stage.name for stage in stages.pending(workspace, with_tests)]


def set_up(workspace: Workspace, with_tests: bool) -> list[str]:
    """The stages that one run carries out."""
    stages.prepare(workspace, INTERPRETER, with_tests)
    todo = stages.pending(workspace, with_tests)
    for stage in todo:
        stages.carry_out(workspace, stage, "")
    return [stage.name for stage in todo]


def test_everything_once_and_then_nothing(workspace: Workspace) -> None:
    assert pending(workspace, with_tests=True) == TEST
    assert set_up(workspace, with_tests=True) == TEST
    assert pending(workspace, with_tests=True) == []
    assert pending(workspace, with_tests=False) == []


def test_the_tests_packages_come_on_top(workspace: Workspace) -> None:
    assert set_up(workspace, with_tests=False) == RUN
    marker = workspace.environment / "marker"
    marker.touch()
    assert set_up(workspace, with_tests=True) == ["test", "torch"]
    assert marker.exists()


def test_another_lock_makes_the_environment_anew(workspace: Workspace) -> None:
    set_up(workspace, with_tests=True)
    marker = workspace.environment / "marker"
    marker.touch()
    write(workspace.root / "requirements" / "test.txt", "pytest==10 \\\n    --hash=sha256:dd\n")
    assert pending(workspace, with_tests=False) == []
    assert pending(workspace, with_tests=True) == ["test"]
    assert set_up(workspace, with_tests=True) == TEST
    assert not marker.exists()


def test_a_members_pyproject_is_installed_in_place(workspace: Workspace) -> None:
    set_up(workspace, with_tests=True)
    marker = workspace.environment / "marker"
    marker.touch()
    write(workspace.root / stages.OWN_PACKAGES[0] / "pyproject.toml", "# changed")
    assert set_up(workspace, with_tests=True) == ["own"]
    assert marker.exists()


def test_what_was_broken_off_is_not_trusted(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken_off(workspace: Workspace, entry: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(llama, "install", broken_off)
        with pytest.raises(KeyboardInterrupt):
            set_up(workspace, with_tests=False)
    assert pending(workspace, with_tests=False) == ["llama", "own"]
    assert set_up(workspace, with_tests=False) == RUN


def test_a_failed_compilation_leaves_the_environment_good(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(workspace: Workspace, entry: str, label: str) -> None:
        raise SetupError("no compiler")

    with monkeypatch.context() as patch:
        patch.setattr(llama, "build", failing)
        with pytest.raises(SetupError):
            set_up(workspace, with_tests=False)
    assert set_up(workspace, with_tests=False) == ["llama", "own"]


def test_servers_are_for_the_tests_only_and_looked_for_each_time(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = ["Redis"]
    monkeypatch.setattr(servers, "missing", lambda: list(absent))
    monkeypatch.setattr(servers, "install", lambda log: absent.clear())
    assert set_up(workspace, with_tests=False) == RUN
    assert set_up(workspace, with_tests=True) == ["servers", "test", "torch"]
    assert pending(workspace, with_tests=True) == []
    marker = workspace.environment / "marker"
    marker.touch()
    absent.append("Redis")
    assert set_up(workspace, with_tests=True) == ["servers"]
    assert marker.exists()


def test_an_environment_of_another_origin_is_replaced(workspace: Workspace) -> None:
    write(workspace.environment / "bin" / "python", "not ours")
    assert set_up(workspace, with_tests=False) == RUN


def test_a_workspace_that_was_moved_is_set_up_again(workspace: Workspace, tmp_path: Path) -> None:
    set_up(workspace, with_tests=False)
    moved = workspace.root.rename(tmp_path.with_name(f"{tmp_path.name}-moved"))
    assert pending(Workspace(moved), with_tests=False) == RUN


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
    write(workspace.root / "services" / "ai-core" / "native" / "kernel.cpp", "// changed")
    assert llama.key(workspace, "llama-cpp-python==1") not in {before, after}


def test_the_users_cmake_arguments_come_last() -> None:
    arguments = llama.cmake_args(Path("/a b/options.cmake"), "-DLLAVA_BUILD=ON")
    assert arguments.endswith(" -DLLAVA_BUILD=ON")
    assert "='/a b/options.cmake' " in arguments
