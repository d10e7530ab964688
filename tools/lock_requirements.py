"""Renews requirements/run.txt and test.txt from the .in files: `make lock`.

The locks hold for Python 3.11 and later on every platform, name no index, and pin the newest
versions allowed; run.txt first, because test.txt follows it.
"""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OPTIONS = [
    "--universal",
    "--python-version=3.11",
    "--fork-strategy=fewest",
    "--generate-hashes",
    "--no-header",
    "--no-emit-index-url",
    "--no-emit-find-links",
    "--upgrade",
    "--quiet",
]


def main() -> int:
    uv = shutil.which("uv", path=Path(sys.executable).parent)
    if uv is None:
        print("uv is missing: run `make test` once, which installs it.", file=sys.stderr)
        return 1
    for name in ("run", "test"):
        source, target = f"requirements/{name}.in", f"requirements/{name}.txt"
        done = subprocess.run([uv, "pip", "compile", *OPTIONS, source, "-o", target], cwd=ROOT, check=False)
        if done.returncode != 0:
            return done.returncode
        print(f"{target} renewed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
