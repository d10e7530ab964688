"""A sample of `make chaos-mail`: the real service and real mail servers, killed and cut off in ten ways."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SAMPLE = 10
PATIENCE = 280.0


def test_no_mail_is_lost_and_none_answered_twice(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    command = [sys.executable, "-m", "mail_chaos", "--runs", f"{SAMPLE}", "--keep", f"{tmp_path}/kept"]
    done = subprocess.run(
        [*command, "--results", str(results)],
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
    assert sum(row["answered"] for row in rows) > 0
    assert sum(row["again"] for row in rows) <= sum(row["cuts"] for row in rows)
    # Which is to say that something did happen.
    assert sum(len(row["points"]) + len(row["happened"]) for row in rows) >= SAMPLE
