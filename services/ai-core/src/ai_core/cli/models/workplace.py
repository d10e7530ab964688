"""What all commands about models work with."""

from __future__ import annotations

from dataclasses import dataclass

from ai_core.catalog.hub.orders import Terms
from ai_core.catalog.hub.terms import terms_of
from ai_core.catalog.models import Catalog
from ai_core.cli.models.server import RunningServer
from ai_core.config import Settings
from ai_core.errors import ModelNotFound
from ai_core.model_wiring import fleet_settings


@dataclass(frozen=True, slots=True)
class Workplace:
    """Settings, models and the server that may be running with them."""

    settings: Settings
    known: Catalog | None
    """None: there is no models file."""
    server: RunningServer

    @property
    def catalog(self) -> Catalog:
        """Raises ModelNotFound where there is none."""
        if self.known is None:
            raise ModelNotFound(f"There is no models file {self.settings.model_config_path}.")
        return self.known

    @property
    def terms(self) -> Terms:
        """How models are fetched."""
        return terms_of(self.settings, fleet_settings(self.settings).budget)
