"""The README of this service says what the code does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from ai_core.api.middleware import RequestCounter
from ai_core.config import Settings
from ai_core.errors import NeoError
from ai_core.inference.engine_metrics import COUNTERS, GAUGES
from ai_core.inference.metrics import AnswerMetrics

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_every_setting_is_listed_with_its_default() -> None:
    text = section("Settings")
    names = {name.upper() for name in Settings.model_fields}
    assert names - set(re.findall(r"[A-Z_]{5,}", text)) == set()
    settings = Settings.load({})
    for name, default in re.findall(r"^\| `([A-Z_]+)` \| `([^`]+)` \|", text, re.MULTILINE):
        value = getattr(settings, name.lower())
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        number = f"{value:g}" if isinstance(value, float) else str(value)
        assert number.lower() == default.lower()


def kinds_of(error: type[NeoError]) -> Iterator[type[NeoError]]:
    yield error
    for kind in error.__subclasses__():
        yield from kinds_of(kind)


def test_every_kind_of_error_is_listed() -> None:
    listed = set(re.findall(r"`([a-z_]+)`", section("Errors")))
    # Always sent with a narrower code, or as ``invalid_value`` and its kin.
    general = {"invalid_request"}
    assert {kind.code for kind in kinds_of(NeoError)} - listed - general == set()


def test_every_metric_is_listed() -> None:
    registry = CollectorRegistry()
    AnswerMetrics(registry)
    RequestCounter(registry)
    families = {family.name for family in registry.collect()} | GAUGES.keys() | COUNTERS.keys()
    assert families - set(re.findall(r"neo_\w+?(?=_total\b|\b)", section("Metrics"))) == set()
