"""Every family that the whole service has, with every label that it ever gets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ai_core_service import PATIENCE, ROOT, Server, running
from trace_collector import collecting

README = (ROOT / "services/ai-core/README.md").read_text(encoding="utf-8")
MODEL = "scripted"
HISTOGRAMS = {
    "neo_time_to_first_token_seconds": (0.01, 300.0),
    "neo_inter_token_latency_seconds": (0.005, 5.0),
    "neo_request_duration_seconds": (0.05, 640.0),
    "neo_queue_seconds": (0.05, 640.0),
}
CODE = r"[a-z][a-z0-9_]{1,40}"
LABELS = {
    "model": MODEL,
    "route": r"unknown|/[a-z0-9/._{}:-]*",
    "status": r"[1-5]\d\d",
    "code": CODE,
    "kind": CODE,
    "outcome": CODE,
    "operation": CODE,
    "reason": CODE,
    "direction": "prompt|answer",
    "what": CODE,
    "le": r"[0-9.e+]+|\+Inf",
    "key_id": r"[a-z0-9]{10}|other",
}
"""What a label may say. A name that is not here is a label that nobody thought about."""


@pytest.fixture(scope="module")
def seen() -> Iterator[tuple[Server, dict[str, Any]]]:
    """A service after good requests and odd ones, and its families by name."""
    with (
        collecting() as collector,
        running(
            ENGINE_BACKEND="scripted",
            MODEL_PATH="",
            MODEL_NAME=MODEL,
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        ) as server,
    ):
        limited = {"name": "one", "scopes": ["generate"], "requests_per_minute": 1}
        key = server.post("/api/v1/admin/keys", limited).json()["key"]
        for shown in ({}, {"X-API-Key": key}, {"X-API-Key": "neo_ffffffffff_" + "x" * 40}):
            for path in ("/api/v1/chat", "/strange/<b>path</b>", "/v1/models/strange"):
                body = {"prompt": "strange words", "user": "strange", "temperature": 0, "cache": "auto"}
                odd = {"X-Request-ID": "strange", "User-Agent": "strange"}
                server.post(path, body, headers=odd | shown)
        server.post("/api/v1/chat", {"prompt": "x", "model": "strange"})
        server.post("/api/v1/chat", {"prompt": "x", "stream": True})
        httpx.request("PURGE", server.url + "/strange", timeout=PATIENCE, trust_env=False)
        text = server.get("/api/v1/metrics").text
        yield server, {family.name: family for family in text_string_to_metric_families(text)}


def test_every_label_says_one_of_few_things(seen: Any) -> None:
    _, families = seen
    assert len(families) > 30
    series = 0
    for family in families.values():
        assert family.documentation
        for sample in family.samples:
            series += 1
            for name, value in sample.labels.items():
                assert name in LABELS, f"{family.name} has a label {name}"
                assert re.fullmatch(LABELS[name], value), f"{family.name}: {name}={value!r}"
                assert "strange" not in value
    assert series < 2_000


def test_keys_are_named_by_ids_that_exist(seen: Any) -> None:
    server, families = seen
    known = {key["id"] for key in server.get("/api/v1/admin/keys").json()["keys"]}
    named = {
        sample.labels["key_id"]
        for family in families.values()
        for sample in family.samples
        if "key_id" in sample.labels
    }
    assert named
    assert named <= known


def test_the_readme_lists_every_family(seen: Any) -> None:
    _, families = seen
    section = README.split("\n## Metrics\n")[1].split("\n## ")[0]
    listed = {name.removesuffix("_total") for name in re.findall(r"\b(?:neo|process)_[a-z_]+", section)}
    assert {name for name in families if name.startswith("neo_")} - listed == set()


@pytest.mark.parametrize("name", sorted(HISTOGRAMS))
def test_a_histogram_reaches_from_quick_to_slow(seen: Any, name: str) -> None:
    _, families = seen
    bounds = [
        float(sample.labels["le"])
        for sample in families[name].samples
        if sample.name.endswith("_bucket") and sample.labels["model"] == MODEL
    ]
    low, high = HISTOGRAMS[name]
    assert (bounds[0], bounds[-2]) == (low, high)
    assert bounds == sorted(bounds)
    assert 10 <= len(bounds) <= 20


def test_what_operators_look_for_is_there_and_moves(seen: Any) -> None:
    server, _ = seen
    own = server.key.split("_")[1]
    for name, labels in {
        "neo_requests_total": {"route": "/api/v1/chat", "status": "200"},
        "neo_errors_total": {"code": "model_not_found"},
        "neo_key_answers_total": {"model": MODEL, "key_id": own},
        "neo_key_tokens_total": {"model": MODEL, "key_id": own, "kind": "prompt"},
        "neo_prompt_tokens_total": {"model": MODEL},
        "neo_generated_tokens_total": {"model": MODEL},
        "neo_time_to_first_token_seconds_count": {"model": MODEL},
        "neo_inter_token_latency_seconds_count": {"model": MODEL},
        "neo_queue_seconds_count": {"model": MODEL},
        "neo_response_cache_requests_total": {"model": MODEL, "outcome": "miss"},
        "neo_limits_hit_total": {"kind": "requests_per_minute"},
        "neo_engine_resident_bytes": {"model": MODEL},
        "neo_engine_ready": {"model": MODEL},
        "process_resident_memory_bytes": {},
    }.items():
        assert server.metric(name, **labels) > 0, name


def test_metrics_need_a_key_of_their_own_scope(seen: Any) -> None:
    server, _ = seen
    keys = {
        scope: server.post("/api/v1/admin/keys", {"name": scope, "scopes": [scope]}).json()["key"]
        for scope in ("metrics", "admin")
    }
    for scope, status in (("metrics", 200), ("admin", 403)):
        response = httpx.get(
            server.url + "/api/v1/metrics", headers={"X-API-Key": keys[scope]}, trust_env=False
        )
        assert response.status_code == status
