"""The tests of alerts notice when an alert is changed: each threshold moved by a quarter, each `for` and each
window halved and doubled, each condition left out. promtool is asked once for each alert, with all its
changes beside it under names of their own, of which the tests expect the same. It takes 25 s of one core."""

from __future__ import annotations

import math
import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

SOURCE = Path(__file__).resolve().parent.parent.parent / "deploy" / "prometheus"
COMPARISON = re.compile(r"(==|!=|>=|<=|>|<) (-?[\d.]+(?: \* [\d.]+)*)")
OPERATOR = re.compile(r" (?:and|or|unless) ")
WINDOW = re.compile(r"\[(\w+)\]")
RECORDED = re.compile(r"neo:[\w:]+")
FAILED = re.compile(r"alertname: (\w+),")
OTHERS = {"halved": 0.5, "doubled": 2}
Rule = dict[str, Any]


def _contents(kind: str) -> Iterator[Any]:
    return (yaml.safe_load(path.read_text()) for path in sorted(SOURCE.glob(f"{kind}/*.yml")))


RULES = [rule for content in _contents("rules") for group in content["groups"] for rule in group["rules"]]
TESTS = list(_contents("tests"))


def _changes(rule: Rule) -> Iterator[tuple[str, Rule]]:
    """What could be wrong with it: in words, and the rule that has it."""
    expression = " ".join(str(rule["expr"]).split())
    for words, changed in _other_expressions(expression):
        yield words, rule | {"expr": changed}
    if "for" in rule:
        minutes = _minutes(str(rule["for"]))
        for words, factor in OTHERS.items():
            yield f"for {words}", rule | {"for": f"{int(factor * minutes)}m"}


def _other_expressions(expression: str) -> Iterator[tuple[str, str]]:
    for place, found in enumerate(COMPARISON.finditer(expression), 1):
        for number in _moved(found[2]):
            changed = f"{expression[: found.start(2)]}{number}{expression[found.end(2) :]}"
            yield f"comparison {place}: {found[1]} {number}", changed
    for place, changed in enumerate(_without_one(expression), 1):
        yield f"without condition {place}", changed
    for window in sorted(set(WINDOW.findall(expression))):
        for words in OTHERS:
            yield f"[{window}] {words}", _other_window(expression, window, words)
    for name in sorted(set(RECORDED.findall(expression))):
        for words in OTHERS:
            yield f"{name} {words}", expression.replace(name, f"{name}_{words}")


def _moved(number: str) -> tuple[str, str]:
    """A quarter more and a quarter less; of nothing, one more and one less."""
    if math.prod(map(float, number.split(" * "))) == 0:
        return "1", "-1"
    return f"(1.25 * {number})", f"(0.8 * {number})"


def _minutes(duration: str) -> int:
    found = re.fullmatch(r"(\d+)([mh])", duration)
    assert found, duration
    return int(found[1]) * {"m": 1, "h": 60}[found[2]]


def _other_window(expression: str, window: str, words: str) -> str:
    return expression.replace(f"[{window}]", f"[{int(OTHERS[words] * _minutes(window))}m]")


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


CHANGES = {rule["alert"]: list(_changes(rule)) for rule in RULES if "alert" in rule}
CASES = [(alert, words) for alert, changes in CHANGES.items() for words, _ in changes]


def _called(alert: str) -> dict[str, Rule]:
    """An alert, and what could be wrong with it, by names of their own."""
    rule = next(rule for rule in RULES if rule.get("alert") == alert)
    changed = {f"{alert}_{number}": rule for number, (_, rule) in enumerate(CHANGES[alert])}
    return {name: rule | {"alert": name} for name, rule in ({alert: rule} | changed).items()}


def _recorded() -> Iterator[Rule]:
    """What is recorded, and the same of other windows."""
    for rule in RULES:
        if "record" in rule:
            yield rule
            for words in OTHERS:
                expression = rule["expr"]
                for window in set(WINDOW.findall(expression)):
                    expression = _other_window(expression, window, words)
                yield {"record": f"{rule['record']}_{words}", "expr": expression}


def _write(alert: str, folder: Path) -> list[Path]:
    """The tests of an alert, for it and for all its changes; their paths."""
    called = _called(alert)
    needed = {name for rule in called.values() for name in RECORDED.findall(rule["expr"])}
    rules = [rule for rule in _recorded() if rule["record"] in needed] + list(called.values())
    rules_path = folder / f"{alert}.rules.yml"
    rules_path.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    paths = []
    for number, content in enumerate(TESTS):
        settings = {"rule_files": [rules_path.name], "evaluation_interval": content["evaluation_interval"]}
        tests = list(_expected_of_all(content["tests"], alert, called))
        if tests:
            paths.append(folder / f"{alert}.{number}.yml")
            paths[-1].write_text(yaml.safe_dump(settings | {"tests": tests}))
    return paths


def _expected_of_all(tests: Iterable[Rule], alert: str, names: Iterable[str]) -> Iterator[Rule]:
    for test in tests:
        cases = [case for case in test.get("alert_rule_test", []) if case["alertname"] == alert]
        if cases:
            yield test | {"alert_rule_test": [case | {"alertname": name} for case in cases for name in names]}


def _complaints(paths: list[Path]) -> set[str]:
    """What the tests find wrong."""
    command = ["promtool", "test", "rules", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert (done.returncode != 0) is ("FAILED" in said), said
    return set(FAILED.findall(said))


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What the tests find wrong: alerts, or the change of one that has a number."""
    folder = tmp_path_factory.mktemp("changed")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = set().union(*pool.map(_complaints, [_write(alert, folder) for alert in CHANGES]))
    assert not found & CHANGES.keys(), "alerts as they are"
    return found


@pytest.mark.parametrize(("alert", "change"), CASES)
def test_a_changed_alert_is_noticed(alert: str, change: str, complaints: set[str]) -> None:
    number = [words for words, _ in CHANGES[alert]].index(change)
    assert f"{alert}_{number}" in complaints


def test_every_alert_but_the_one_that_always_fires_can_be_wrong() -> None:
    assert {name for name, changes in CHANGES.items() if not changes} == {"Watchdog"}
