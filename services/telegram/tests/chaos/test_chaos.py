"""A sample of `make chaos`: the real service, killed and cut off in twenty ways."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SAMPLE = 20
PATIENCE = 280.0


def test_nobody_is_answered_twice_or_not_at_all(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    command = [sys.executable, "-m", "telegram_chaos", "--runs", f"{SAMPLE}", "--keep"]
    done = subprocess.run(
        [*command, f"{tmp_path}/kept", "--results", f"{results}"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    assert done.returncode == 0, done.stdout
    assert sorted(row["seed"] for row in rows) == list(range(1, SAMPLE + 1))
    assert sum(row["answered"] for row in rows) >= sum(row["questions"] for row in rows) > 0
    assert sum(row["ambiguous"] for row in rows) <= sum(row["cuts"] for row in rows)
    # Which is to say that something did happen.
    assert sum(len(row["points"]) for row in rows) >= SAMPLE
