"""Prometheus in the stack finds everything, and the door as strangers see it: `make test-deploy-full`."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import quote

from tests.deploy.suite.installation import Installation
from tests.deploy.suite.program import Program

PATIENCE = 180.0
"""Seconds: files of targets are read once a minute."""
JOBS = {
    *(
        "ai-core",
        "telegram",
        "mail",
        "prometheus",
        "alertmanager",
        "node",
        "redis",
        "postgres",
        "door",
        "origin",
    ),
}


def _asked(suite: Installation, path: str) -> Any:
    answer = suite.inside("prometheus", "wget", "-q", "-O", "-", f"http://127.0.0.1:9090/api/v1/{path}")
    return json.loads(answer)["data"]


def _query(suite: Installation, expression: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = _asked(suite, f"query?query={quote(expression)}")["result"]
    return found


def _until(suite: Installation, expression: str, count: int) -> list[dict[str, Any]]:
    deadline = time.monotonic() + PATIENCE
    while len(found := _query(suite, expression)) < count:
        targets = _asked(suite, "targets")["activeTargets"]
        errors = {target["scrapeUrl"]: target["lastError"] for target in targets if target["lastError"]}
        assert time.monotonic() < deadline, (expression, found, errors)
        time.sleep(2)
    return found


def test_prometheus_scrapes_every_service_of_the_suite(suite: Installation) -> None:
    targets = len(_asked(suite, "targets")["activeTargets"])
    # Three domains are behind one door, and seen from both sides.
    up = _until(suite, "up == 1", max(targets, len(JOBS) + 4))
    assert {sample["metric"]["job"] for sample in up} == JOBS
    assert _query(suite, "up == 0") == []


def test_what_exporters_see_is_up(suite: Installation) -> None:
    for expression in ("redis_up == 1", "pg_up == 1", "node_memory_MemAvailable_bytes > 0"):
        _until(suite, expression, 1)


def test_the_three_domains_are_open_to_strangers(suite: Installation) -> None:
    open_doors = _until(suite, 'probe_success{job="door"} == 1', 3)
    assert {sample["metric"]["instance"] for sample in open_doors} == {
        f"https://{name}.neo.test:18443/livez" for name in ("ai", "telegram", "mail")
    }
    assert len(_query(suite, "probe_ssl_earliest_cert_expiry > time()")) == 6


def test_rules_are_evaluated_and_alertmanager_is_known(suite: Installation, program: Program) -> None:
    program.ask("Bonjour")
    groups = _asked(suite, "rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) > 20
    assert [rule["lastError"] for rule in rules if rule.get("lastError")] == []
    assert len(_asked(suite, "alertmanagers")["activeAlertmanagers"]) == 1


def test_a_backup_is_noticed(suite: Installation) -> None:
    print(suite.script("deploy/compose.sh", "exec", "-T", "backup", "sh", "/opt/neo-backup/backup.sh"))
    _until(suite, "neo_backup_last_success_timestamp_seconds > 0", 1)
    # Before, there was none: with the rules' next round, nobody misses one any more.
    _until(suite, 'absent(ALERTS{alertname="BackupTooOld"})', 1)
