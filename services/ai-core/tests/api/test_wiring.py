"""From settings to the engines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ai_core.catalog.engine_choice import EngineDecision
from ai_core.catalog.facts import FileFacts
from ai_core.catalog.models import AdapterEntry, ModelEntry
from ai_core.catalog.plan import ModelPlan
from ai_core.config import Settings
from ai_core.engine.messages import AdapterFile
from ai_core.model_wiring import catalog_of, engine_config, planner


def planned(entry: ModelEntry) -> ModelPlan:
    return ModelPlan(entry, entry.path, FileFacts(), EngineDecision("llama.cpp", "The test says so."))


def test_settings_reach_the_engine() -> None:
    settings = Settings.load(
        {
            "CONTEXT_LENGTH": "4096",
            "KV_CELLS": "9999",
            "MAX_SEQUENCES": "3",
            "MAX_QUEUED_REQUESTS": "5",
            "THREADS": "2",
            "ITL_TARGET_MS": "150.5",
            "MAX_PROMPT_LENGTH": "777",
            "DEBUG": "true",
        }
    )
    config = engine_config(settings, planned(ModelEntry("m", Path("/srv/m.gguf"))))
    assert config.model_path == "/srv/m.gguf"
    assert (config.context_length, config.kv_cells, config.max_sequences) == (4096, 9999, 3)
    assert (config.threads, config.itl_target_ms, config.log_level) == (2, 150.5, "debug")
    assert config.max_waiting >= 3 + 5
    assert config.max_prompt_tokens == 777


def test_a_models_own_figures_go_before_the_settings() -> None:
    settings = Settings.load({"CONTEXT_LENGTH": "4096", "THREADS": "2"})
    entry = ModelEntry(
        "m",
        Path("m.gguf"),
        context_length=512,
        threads=1,
        max_sequences=2,
        adapters=(AdapterEntry("formal", Path("/a/formal.gguf"), 0.5),),
        chat_template="{{ messages }}",
        quantization="Q4_K_M",
    )
    config = engine_config(settings, planned(entry))
    assert (config.context_length, config.threads, config.max_sequences) == (512, 1, 2)
    assert config.adapters == [AdapterFile("formal", "/a/formal.gguf", 0.5)]
    assert (config.chat_template, config.quantization) == ("{{ messages }}", "none")


@pytest.mark.parametrize(
    ("setting", "engine"), [("llama_cpp", "llama.cpp"), ("openvino", "openvino"), ("scripted", "scripted")]
)
def test_the_operator_may_say_what_computes_gguf(tmp_path: Path, setting: str, engine: str) -> None:
    plan = planner(Settings.load({"ENGINE_BACKEND": setting}))
    entry = ModelEntry("m", tmp_path / "m.gguf")
    assert plan(entry).decision.engine == engine
    named = replace(entry, engine="llama.cpp")
    assert plan(named).decision.engine == ("scripted" if setting == "scripted" else "llama.cpp")


def test_the_engine_for_measuring_needs_no_model() -> None:
    assert catalog_of(Settings.load({"ENGINE_BACKEND": "scripted"})).default.name == "scripted"
