"""Batches of the whole service, which dies in the middle of one."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from ai_core_service import PATIENCE, Server, Start, wait_until

LINES = 40


def make(server: Server) -> str:
    lines = [
        {
            "custom_id": f"id-{number}",
            "url": "/api/v1/chat",
            "body": {"prompt": f"Bonjour {number}", "max_tokens": 24, "ignore_eos": True},
        }
        for number in range(LINES)
    ]
    made = httpx.post(
        f"{server.url}/api/v1/batches",
        content="\n".join(map(json.dumps, lines)),
        headers=server.headers | {"content-type": "application/jsonl"},
        timeout=PATIENCE,
        trust_env=False,
    )
    assert made.status_code == 201, made.text
    id: str = made.json()["id"]  # noqa: A001
    return id


def counts(server: Server, batch: str) -> dict[str, int]:
    found: dict[str, int] = server.get(f"/api/v1/batches/{batch}").json()["request_counts"]
    return found


def results(server: Server, batch: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.get(f"/api/v1/batches/{batch}/results").text.splitlines()]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_batch_survives_the_death_of_the_service_and_answers_each_line_once(
    start: Start, tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    address = f"sqlite:///{tmp_path}/x.db" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    settings = {"DATABASE_URL": address, "LOCAL_KEY_PATH": str(tmp_path / "local.key")}
    first = start(**settings)
    first.key_path = tmp_path / "local.key"
    batch = make(first)
    wait_until(lambda: counts(first, batch)["completed"] >= 5, "some lines are answered")
    before = {result["custom_id"]: result for result in results(first, batch)}
    os.killpg(first.process.pid, signal.SIGKILL)
    first.process.wait()

    second = start(**settings)
    second.key_path = tmp_path / "local.key"
    wait_until(
        lambda: second.get(f"/api/v1/batches/{batch}").json()["status"] == "completed", "the batch is over"
    )
    after = results(second, batch)
    assert [result["custom_id"] for result in after] == [f"id-{number}" for number in range(LINES)]
    assert {result["response"]["status_code"] for result in after} == {200}
    # What was there stayed as it was.
    assert [result for result in after if result["custom_id"] in before] == list(before.values())


def test_sigterm_does_not_wait_for_a_batch_and_gives_its_lines_back(start: Start, tmp_path: Path) -> None:
    settings = {
        "DATABASE_URL": f"sqlite:///{tmp_path}/x.db",
        "LOCAL_KEY_PATH": str(tmp_path / "local.key"),
    }
    first = start(**settings)
    first.key_path = tmp_path / "local.key"
    batch = make(first)
    wait_until(lambda: counts(first, batch)["running"] > 0, "lines run")
    first.process.send_signal(signal.SIGTERM)
    assert first.process.wait(PATIENCE) == 0

    second = start(**settings)
    second.key_path = tmp_path / "local.key"
    wait_until(lambda: counts(second, batch)["completed"] == LINES, "all lines are answered")
    assert not any("taken up again" in line for line in second.log)
