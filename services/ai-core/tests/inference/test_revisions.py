"""What tells kept answers of one model from those of another."""

from __future__ import annotations

from pathlib import Path

from ai_core.catalog.models import ModelEntry, UpstreamEntry
from ai_core.engine.messages import EngineConfig
from ai_core.inference.assembly import revision_of


async def test_answers_of_one_remote_model_are_never_taken_for_those_of_another() -> None:
    config = EngineConfig(model_path="")
    upstreams = [
        UpstreamEntry("http://127.0.0.1:1/v1", "m"),
        UpstreamEntry("http://127.0.0.1:1/v1", "n"),
        UpstreamEntry("http://127.0.0.1:2/v1", "m"),
    ]
    entries = [
        ModelEntry("ours", Path("/nowhere"), type="remote", upstream=upstream) for upstream in upstreams
    ]
    assert len({await revision_of(entry, config).current(None) for entry in entries}) == len(entries)
