"""What tells kept answers of one model from those of another."""

from __future__ import annotations

from pathlib import Path

from ai_core.catalog.engine_choice import EngineDecision
from ai_core.catalog.facts import FileFacts
from ai_core.catalog.models import ModelEntry, UpstreamEntry
from ai_core.catalog.plan import ModelPlan
from ai_core.engine.messages import EngineConfig
from ai_core.inference.assembly import revision_of


async def test_answers_of_one_remote_model_are_never_taken_for_those_of_another() -> None:
    config = EngineConfig(model_path="")
    upstreams = [
        UpstreamEntry("http://127.0.0.1:1/v1", "m"),
        UpstreamEntry("http://127.0.0.1:1/v1", "n"),
        UpstreamEntry("http://127.0.0.1:2/v1", "m"),
    ]
    plans = [
        ModelPlan(
            ModelEntry("ours", Path("/nowhere"), type="remote", upstream=upstream),
            None,
            FileFacts(),
            EngineDecision("remote", "The model is on another server."),
        )
        for upstream in upstreams
    ]
    assert len({await revision_of(plan, config).current(None) for plan in plans}) == len(plans)
