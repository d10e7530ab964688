"""Alerts by promtool: each is tried, each has its page for whoever is woken."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

DEPLOY = Path(__file__).resolve().parent.parent.parent / "deploy"
RULES = sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))
TESTS = sorted((DEPLOY / "prometheus" / "tests").glob("*.yml"))
RUNBOOKS = DEPLOY / "runbooks"
SECTIONS = ("## What it means", "## What to look at", "## What to do")


def _alerts() -> dict[str, dict[str, object]]:
    rules = [
        rule
        for path in RULES
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]
    return {rule["alert"]: rule for rule in rules if "alert" in rule}


ALERTS = _alerts()


def _promtool(*arguments: str | Path) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_are_sound() -> None:
    _promtool("check", "rules", *RULES)


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_not_otherwise(path: Path) -> None:
    _promtool("test", "rules", path)


def test_each_alert_is_tried() -> None:
    tried = {
        case["alertname"]
        for path in TESTS
        for test in yaml.safe_load(path.read_text())["tests"]
        for case in test.get("alert_rule_test", [])
        if case["exp_alerts"]
    }
    assert tried == set(ALERTS)


def test_prometheus_takes_its_configuration() -> None:
    _promtool("check", "config", "--syntax-only", DEPLOY / "prometheus" / "prometheus.yml")


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_whoever_is_woken_finds_what_to_do(name: str) -> None:
    rule = ALERTS[name]
    annotations = rule["annotations"]
    assert isinstance(annotations, dict)
    assert annotations["runbook_url"] == f"deploy/runbooks/{name}.md"
    page = (RUNBOOKS / f"{name}.md").read_text()
    assert page.startswith(f"# {name}\n")
    places = [page.index(section) for section in SECTIONS]
    assert places == sorted(places)
    # What fires always is for nobody who sleeps.
    severities = ["none"] if name == "Watchdog" else ["page", "ticket"]
    assert rule["labels"] in [{"severity": severity} for severity in severities]


def test_each_runbook_belongs_to_an_alert() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"} == set(ALERTS)
