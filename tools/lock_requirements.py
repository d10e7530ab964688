"""Renews the locks in requirements/ from the .in files: `make lock`.

The locks hold for Python 3.11 and later on every platform, name no index, and pin the newest versions
allowed. All that may come into .venv is resolved together first, so that no two of those locks contradict
each other; the converter, which has an environment of its own, is resolved alone.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOGETHER = ("run", "build", "llama", "openvino", "transformers", "onnx", "test")
ALONE = ("converter",)
IMAGES = ("ai-core", "telegram", "mail")
"""Services with an image of their own, which holds what their pyproject.toml names and no more."""
OPTIONS = [
    "--universal",
    "--python-version=3.11",
    "--fork-strategy=fewest",
    "--override=requirements/overrides.in",
    "--no-header",
    "--no-emit-index-url",
    "--no-emit-find-links",
    "--quiet",
]


def main() -> int:
    uv = shutil.which("uv", path=Path(sys.executable).parent)
    if uv is None:
        print("uv is missing: run `make test` once, which installs it.", file=sys.stderr)
        return 1
    try:
        _renew(uv)
    except subprocess.CalledProcessError as error:
        return error.returncode
    return 0


def _renew(uv: str) -> None:
    with tempfile.TemporaryDirectory(prefix="neo-lock-") as scratch:
        versions = Path(scratch) / "versions.txt"
        _compile(uv, [_source(name) for name in TOGETHER], versions, "--upgrade", "--no-annotate")
        for name in TOGETHER:
            # What the target holds, uv keeps to where it can.
            shutil.copy(versions, ROOT / _lock(name))
            _compile(uv, [_source(name)], ROOT / _lock(name), "--generate-hashes")
            print(f"{_lock(name)} renewed")
        for service in IMAGES:
            _lock_image(uv, service, versions)
    for name in ALONE:
        _compile(uv, [_source(name)], ROOT / _lock(name), "--generate-hashes", "--upgrade")
        print(f"{_lock(name)} renewed")


def _lock_image(uv: str, service: str, versions: Path) -> None:
    """What one service needs, in the versions that all were resolved to."""
    members = [f"services/{service}/pyproject.toml", "libs/servicekit/pyproject.toml"]
    target = ROOT / "services" / service / "requirements.txt"
    shutil.copy(versions, target)
    # Ours come from the repository: no index is ever asked for their names.
    own = versions.with_name("own.in")
    own.write_text('servicekit ; python_version < "3"\n')
    _compile(uv, members, target, "--generate-hashes", "--no-annotate", f"--override={own}")
    print(f"{target.relative_to(ROOT)} renewed")


def _source(name: str) -> str:
    return f"requirements/{name}.in"


def _lock(name: str) -> str:
    return f"requirements/{name}.txt"


def _compile(uv: str, sources: list[str], target: Path, *options: str) -> None:
    subprocess.run([uv, "pip", "compile", *OPTIONS, *options, *sources, "-o", target], cwd=ROOT, check=True)


if __name__ == "__main__":
    sys.exit(main())
