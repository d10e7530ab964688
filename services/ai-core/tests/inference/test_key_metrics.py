"""Tokens by key: counted, passed on, and of a bounded number of keys."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from ai_core.inference.key_metrics import KeyMetrics
from ai_core.storage.usage import Amount


def test_amounts_are_counted_and_passed_on() -> None:
    registry, noted = CollectorRegistry(), list[tuple[str, str, Amount]]()
    note = KeyMetrics(registry).counting(lambda *what: noted.append(what))
    amount = Amount(requests=1, prompt_tokens=5, completion_tokens=3, cached_prompt_tokens=2)
    note("k1", "m", amount)
    note("k1", "m", amount)
    assert noted == [("k1", "m", amount)] * 2
    labels = {"model": "m", "key_id": "k1"}
    assert registry.get_sample_value("neo_key_answers_total", labels) == 2
    for kind, tokens in {"prompt": 10, "completion": 6, "cached_prompt": 4}.items():
        assert registry.get_sample_value("neo_key_tokens_total", labels | {"kind": kind}) == tokens


def test_beyond_a_number_of_keys_the_others_are_counted_together() -> None:
    registry = CollectorRegistry()
    note = KeyMetrics(registry, max_keys=2).counting(lambda *_: None)
    for key in ("k1", "k2", "k3", "k4", "k1"):
        note(key, "m", Amount(requests=1))
    counts = {
        sample.labels["key_id"]: sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "neo_key_answers_total"
    }
    assert counts == {"k1": 2, "k2": 1, "other": 2}
