"""From settings to the engines."""

from __future__ import annotations

from pathlib import Path

from ai_core.app import catalog_of, engine_config
from ai_core.catalog.models import ModelEntry
from ai_core.config import Settings


def test_settings_reach_the_engine() -> None:
    settings = Settings.load(
        {
            "CONTEXT_LENGTH": "4096",
            "KV_CELLS": "9999",
            "MAX_SEQUENCES": "3",
            "MAX_QUEUED_REQUESTS": "5",
            "THREADS": "2",
            "ITL_TARGET_MS": "150.5",
            "DEBUG": "true",
        }
    )
    config = engine_config(settings, ModelEntry("m", Path("/srv/m.gguf")))
    assert config.model_path == "/srv/m.gguf"
    assert (config.context_length, config.kv_cells, config.max_sequences) == (4096, 9999, 3)
    assert (config.threads, config.itl_target_ms, config.log_level) == (2, 150.5, "debug")
    assert config.max_waiting >= 3 + 5


def test_a_models_own_figures_go_before_the_settings() -> None:
    settings = Settings.load({"CONTEXT_LENGTH": "4096", "THREADS": "2"})
    config = engine_config(settings, ModelEntry("m", Path("m.gguf"), context_length=512, threads=1))
    assert (config.context_length, config.threads) == (512, 1)


def test_the_engine_for_measuring_needs_no_model() -> None:
    assert catalog_of(Settings.load({"ENGINE_BACKEND": "scripted"})).default.name == "scripted"
