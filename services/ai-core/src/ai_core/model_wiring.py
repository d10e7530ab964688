"""What the settings and the models file mean for engines: which there are, and how each is started."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ai_core.catalog.conversion.environment import ready
from ai_core.catalog.engine_choice import BACKENDS, EngineDecision
from ai_core.catalog.facts import FileFacts
from ai_core.catalog.files import ModelSources, load_catalog
from ai_core.catalog.machine import this_machine
from ai_core.catalog.models import Catalog, ModelEntry, UpstreamEntry
from ai_core.catalog.plan import ModelPlan, plan_of
from ai_core.config import Settings
from ai_core.engine.messages import AdapterFile, EngineConfig
from ai_core.engine_client.remote.models import RemoteModels
from ai_core.engine_client.remote.upstream import Upstream
from ai_core.inference.served import ServedEngine
from ai_core.residency.fleet_settings import FleetSettings
from ai_core.residency.life import Patience
from ai_core.residency.planning import Turns
from ai_core.residency.process_memory import budget_for, memory_limit


def catalog_of(settings: Settings) -> Catalog:
    """The models of this server. Raises CatalogError."""
    if settings.engine_backend == "scripted":
        path = settings.model_path or Path("scripted")
        return Catalog([ModelEntry(settings.model_name or "scripted", path)])
    return load_catalog(
        ModelSources(
            model_path=settings.model_path,
            model_name=settings.model_name,
            model_config_path=settings.model_config_path,
            model_cache_dir=settings.model_cache_dir,
            default_model=settings.default_model,
        )
    )


def planner(settings: Settings) -> Callable[[ModelEntry], ModelPlan]:
    """How models are served on this machine, each with what is on the disk when it is called."""
    machine = this_machine(kernels=settings.engine_kernels, converter=ready() is not None)

    def plan(entry: ModelEntry) -> ModelPlan:
        if settings.engine_backend == "scripted":
            decision = EngineDecision("scripted", "ENGINE_BACKEND says so.")
            return ModelPlan(entry, entry.path, FileFacts(), decision)
        found = plan_of(entry, machine, settings.max_sequences)
        if settings.engine_backend == "auto" or entry.type != "gguf" or entry.engine != "auto":
            return found
        forced = next(name for name, backend in BACKENDS.items() if backend == settings.engine_backend)
        return replace(found, decision=EngineDecision(forced, "ENGINE_BACKEND says so."))

    return plan


def _converted(settings: Settings) -> Path:
    return settings.model_cache_dir / "converted"


def converted_models(settings: Settings) -> Path:
    """Where models are kept that were brought into the form that an engine computes with."""
    return _converted(settings) / "models"


def engine_config(settings: Settings, plan: ModelPlan) -> EngineConfig:
    """How the engine process of one model is started."""
    entry = plan.entry
    max_sequences = entry.max_sequences or settings.max_sequences
    return EngineConfig(
        backend=plan.decision.backend,
        model_path=str(plan.path or entry.path),
        adapters=[AdapterFile(one.name, str(one.path), one.scale) for one in entry.adapters],
        converted_adapters=str(_converted(settings) / "adapters"),
        converted_models=str(converted_models(settings)),
        chat_template=entry.chat_template,
        device=entry.device,
        # The name of a GGUF quantization says which file is fetched, not how it is loaded.
        quantization=entry.quantization if entry.quantization in {"int8", "4bit"} else "none",
        trust_remote_code=entry.trust_remote_code,
        context_length=entry.context_length or settings.context_length,
        kv_cells=settings.kv_cells,
        max_sequences=max_sequences,
        # The API's tickets are the limit that callers meet; the engine's own stands behind it.
        max_waiting=settings.max_queued_requests + max_sequences,
        threads=entry.threads or settings.threads,
        itl_target_ms=settings.itl_target_ms,
        kv_type=settings.kv_type,
        kernels=settings.engine_kernels,
        precision=settings.engine_precision,
        prefill_chunk=settings.engine_prefill_chunk,
        coalescing=settings.engine_coalescing,
        converter=[sys.executable, "-m", "ai_core.catalog.conversion"],
        kind=entry.kind,
        pooling=entry.pooling,
        matryoshka=entry.matryoshka,
        max_prompt_tokens=settings.max_prompt_length,
        log_level=settings.effective_log_level,
    )


def upstream_of(upstream: UpstreamEntry, name: str) -> Upstream:
    """The server that answers for a remote model of this name."""
    return Upstream(upstream.url, upstream.model or name, upstream.key_file, upstream.timeout)


def put_remote(remotes: RemoteModels, entry: ModelEntry) -> ServedEngine:
    """A remote model that is new here, or has changed."""
    assert entry.upstream is not None, "the models file is not read without one"
    return remotes.put(entry.name, upstream_of(entry.upstream, entry.name), kind=remote_kind(entry))


def remote_kind(entry: ModelEntry) -> Literal["generation", "embedding"]:
    """What a remote model does: servers do not say, so it generates unless the operator says otherwise."""
    return "embedding" if entry.kind == "embedding" else "generation"


def fleet_settings(settings: Settings) -> FleetSettings:
    """How engines are kept in memory."""
    return FleetSettings(
        budget=settings.model_memory_budget or budget_for(memory_limit()),
        keep_alive=settings.model_keep_alive,
        turns=Turns(settings.model_swap_wait),
        patience=Patience(silent=settings.engine_stall_timeout),
    )
