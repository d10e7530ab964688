"""How models are fetched by this server, from its settings."""

from __future__ import annotations

from ai_core.catalog.hub.orders import Terms
from ai_core.config import Settings


def terms_of(settings: Settings, budget: int) -> Terms:
    """``budget``: bytes of memory for all models together; 0: not known."""
    token = settings.huggingface_token
    return Terms(
        settings.model_cache_dir,
        settings.hf_endpoint,
        token.get_secret_value() if token else None,
        budget,
    )
