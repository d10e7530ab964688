"""What holds for the workspace as a whole, and no single member could test."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from lock_requirements import ALONE, TOGETHER

ROOT = Path(__file__).resolve().parent.parent
MEMBERS = sorted(path.parent for path in ROOT.glob("*/*/pyproject.toml"))
LOCKED = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)
TORCH = {"torch", "torchvision"}
REPORTS_USE = "openvino-telemetry"


def locked(name: str) -> dict[str, str]:
    return dict(LOCKED.findall((ROOT / "requirements" / f"{name}.txt").read_text()))


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9_-]", each)[0] for each in requirements}


def test_no_folder_of_tests_is_a_package() -> None:
    # With --import-mode=importlib, pytest would run the first such package's tests under every path.
    tops = [path for path in ROOT.iterdir() if path.is_dir() and path.name not in {".git", ".venv", "var"}]
    packages = [path for top in tops for path in top.rglob("__init__.py")]
    assert packages
    assert [path for path in packages if "tests" in path.relative_to(ROOT).parts] == []


@pytest.mark.parametrize("name", [*TOGETHER, *ALONE])
def test_each_locked_package_has_hashes_and_no_lock_names_an_index(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)
    assert all("--hash=sha256:" in entry for entry in entries if entry.strip())
    assert not re.search(r"://|^--?[a-z]|--(extra-)?index-url|--find-links", text, re.MULTILINE)


def test_every_list_of_packages_has_its_lock() -> None:
    lists = {path.stem for path in (ROOT / "requirements").glob("*.in")} - {"overrides"}
    assert lists == {*TOGETHER, *ALONE}


@pytest.mark.parametrize("name", TOGETHER)
def test_the_locks_of_one_environment_agree(name: str) -> None:
    others = {package: version for other in TOGETHER for package, version in locked(other).items()}
    assert {package: version for package, version in locked(name).items() if others[package] != version} == {}


@pytest.mark.parametrize("name", [*TOGETHER, *ALONE])
def test_nothing_that_is_locked_reports_use_or_brings_another_torch(name: str) -> None:
    assert not locked(name).keys() & {REPORTS_USE, *TORCH}


def test_what_the_converter_writes_is_read_by_the_same_openvino() -> None:
    assert locked("converter")["openvino"] == locked("openvino")["openvino"]


def test_run_brings_nothing_heavy_and_nothing_that_is_compiled() -> None:
    heavy = {"llama-cpp-python", "openvino-genai", "onnxruntime-genai", "transformers", "cmake"}
    assert not locked("run").keys() & heavy


@pytest.mark.parametrize("member", MEMBERS, ids=lambda path: path.name)
def test_what_a_member_needs_is_locked(member: Path) -> None:
    project = tomllib.loads((member / "pyproject.toml").read_text())
    own = {path.name for path in MEMBERS}
    assert names(project["project"]["dependencies"]) - own <= set(locked("run"))
    assert names(project["build-system"]["requires"]) <= set(locked("build"))
    for extra, packages in project["project"].get("optional-dependencies", {}).items():
        assert names(packages) <= set(locked(extra))


# Imports a module where only some of the installed packages can be found.
AMONG = """
import importlib, sys
from importlib.machinery import PathFinder
from importlib.metadata import packages_distributions

class Hiding(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name in hidden else super().find_spec(name, path, target)

module, *kept = sys.argv[1:]
plain = lambda name: name.lower().replace("_", "-").replace(".", "-")
hidden = {top for top, names in packages_distributions().items() if not {*map(plain, names)} & {*kept}}
sys.meta_path[sys.meta_path.index(PathFinder)] = Hiding
importlib.import_module(module)
"""


@pytest.mark.parametrize(
    ("extra", "backend"),
    [
        ("llama", "llama_cpp"),
        ("openvino", "openvino"),
        ("onnx", "onnxruntime"),
        ("transformers", "transformers"),
    ],
)
def test_an_engine_needs_nothing_but_what_its_command_installs(extra: str, backend: str) -> None:
    module = f"ai_core.engine.backends.{backend}.load"
    torch = {"torch"} if extra == "transformers" else set()
    installed = locked("run").keys() | locked(extra).keys() | torch | {path.name for path in MEMBERS}
    command = [sys.executable, "-c", AMONG, module, *installed]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_server_needs_nothing_but_what_run_installs() -> None:
    installed = locked("run").keys() | {path.name for path in MEMBERS}
    command = [sys.executable, "-c", AMONG, "ai_core.__main__", *installed]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("member", MEMBERS, ids=lambda path: path.name)
def test_the_set_up_installs_each_member(member: Path) -> None:
    from workspace_setup.stages import OWN_PACKAGES

    assert str(member.relative_to(ROOT)) in OWN_PACKAGES
