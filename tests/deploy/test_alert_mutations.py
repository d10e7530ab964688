"""The tests of alerts notice when an alert is changed: each threshold moved by a quarter, each `for` halved
and doubled, each condition left out. promtool is asked once for one change of every alert: none depends on
another. It takes twenty seconds on two cores."""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
import yaml

SOURCE = Path(__file__).resolve().parent.parent.parent / "deploy" / "prometheus"
COMPARISON = re.compile(r"(==|!=|>=|<=|>|<) (-?[\d.]+(?: \* [\d.]+)*)")
OPERATOR = re.compile(r" (?:and|or|unless) ")
FAILED = re.compile(r"alertname: (\w+),")
Rule = dict[str, Any]
NOT_YET = {"channels.yml", "EngineCrashLoop"}
"""Of which only some changes are noticed."""


def _files() -> dict[str, Any]:
    return {path.name: yaml.safe_load(path.read_text()) for path in sorted(SOURCE.glob("rules/*.yml"))}


def _alerts(files: Mapping[str, Any]) -> Iterator[Rule]:
    for name, content in files.items():
        for group in content["groups"]:
            yield from (rule for rule in group["rules"] if not {name, rule.get("alert")} & {None, *NOT_YET})


def _changes(rule: Rule) -> Iterator[tuple[str, Rule]]:
    """What could be wrong with it: in words, and the rule that has it."""
    expression = " ".join(str(rule["expr"]).split())
    for place, found in enumerate(COMPARISON.finditer(expression), 1):
        for number in _moved(found[2]):
            changed = f"{expression[: found.start(2)]}{number}{expression[found.end(2) :]}"
            yield f"comparison {place}: {found[1]} {number}", rule | {"expr": changed}
    for place, changed in enumerate(_without_one(expression), 1):
        yield f"without condition {place}", rule | {"expr": changed}
    if "for" in rule:
        minutes = _minutes(str(rule["for"]))
        for other in (minutes // 2, minutes * 2):
            yield f"for {other}m", rule | {"for": f"{other}m"}


def _moved(number: str) -> tuple[str, str]:
    """A quarter more and a quarter less; of nothing, one more and one less."""
    if math.prod(map(float, number.split(" * "))) == 0:
        return "1", "-1"
    return f"(1.25 * {number})", f"(0.8 * {number})"


def _minutes(duration: str) -> int:
    found = re.fullmatch(r"(\d+)([mh])", duration)
    assert found, duration
    return int(found[1]) * {"m": 1, "h": 60}[found[2]]


def _without_one(expression: str) -> Iterator[str]:
    """It, less one of its conditions, outside of brackets."""
    operators = [
        found
        for found in OPERATOR.finditer(expression)
        if expression[: found.start()].count("(") == expression[: found.start()].count(")")
    ]
    if not operators:
        return
    yield expression[operators[0].end() :]
    ends = [found.start() for found in operators[1:]] + [len(expression)]
    for found, end in zip(operators, ends, strict=True):
        yield expression[: found.start()] + expression[end:]


CHANGES = {rule["alert"]: list(_changes(rule)) for rule in _alerts(_files())}
CASES = [(name, words) for name, changes in CHANGES.items() for words, _ in changes]


def _complaints(folder: Path, changed: Mapping[str, Rule]) -> set[str]:
    """Alerts that the tests find wrong, when these rules stand where others stood."""
    shutil.copytree(SOURCE / "tests", folder / "tests")
    (folder / "rules").mkdir()
    files = _files()
    for rule in _alerts(files):
        rule.update(changed.get(rule["alert"], {}))
    for name, content in files.items():
        (folder / "rules" / name).write_text(yaml.safe_dump(content))
    tests = [path for path in sorted((folder / "tests").glob("*.yml")) if _tries(path, changed)]
    command = ["promtool", "test", "rules", *map(str, tests)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert (done.returncode != 0) is ("FAILED" in said), said
    return set(FAILED.findall(said))


def _tries(path: Path, changed: Mapping[str, Rule]) -> bool:
    """Whether a file of tests has to do with what is changed; all have if nothing is."""
    names = set(re.findall(r"alertname: (\w+)", path.read_text()))
    return not changed or bool(names & changed.keys())


@pytest.fixture(scope="module")
def noticed(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str]]:
    """Which changes of which alerts the tests notice."""
    assert _complaints(tmp_path_factory.mktemp("unchanged") / "all", {}) == set()

    def tried(round_: Mapping[str, tuple[str, Rule]]) -> set[tuple[str, str]]:
        folder = tmp_path_factory.mktemp("changed") / "all"
        complaints = _complaints(folder, {name: rule for name, (_, rule) in round_.items()})
        return {(name, words) for name, (words, _) in round_.items() if name in complaints}

    rounds = [
        {name: change for name, change in zip(CHANGES, nth, strict=True) if change is not None}
        for nth in zip_longest(*CHANGES.values())
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return set().union(*pool.map(tried, rounds))


@pytest.mark.parametrize(("alert", "change"), CASES)
def test_a_changed_alert_is_noticed(alert: str, change: str, noticed: set[tuple[str, str]]) -> None:
    assert (alert, change) in noticed


def test_every_alert_but_the_one_that_always_fires_can_be_wrong() -> None:
    assert {name for name, changes in CHANGES.items() if not changes} == {"Watchdog"}
