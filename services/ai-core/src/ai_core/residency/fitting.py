"""What a model takes, and what becomes of one that takes too much."""

from __future__ import annotations

from ai_core.engine.messages import EngineConfig
from ai_core.errors import EngineUnavailable
from ai_core.residency import unavailable
from ai_core.residency.estimate import estimate
from ai_core.residency.fleet_engine import FleetEngine
from ai_core.residency.footprint import Footprint
from ai_core.residency.planning import NoRoom
from ai_core.residency.shrinker import CannotShrink, Shrinker
from ai_core.residency.shrinking import SmallerForm, Stored, smaller_form
from servicekit.logging import get_logger

_log = get_logger(__name__)


def footprint_of(config: EngineConfig) -> Footprint:
    """What an engine will hold, as far as its files tell."""
    found = estimate(config)
    return Footprint(found.total, found.cache)


def form_that_fits(engine: FleetEngine, refusal: NoRoom) -> SmallerForm | None:
    """In which form a model that was refused as it is stored could be loaded, if in any."""
    found = estimate(engine.supervised.config)
    return smaller_form(Stored(engine.footprint.full, found.weights, found.parameters), refusal.room)


async def shrink(engine: FleetEngine, shrinker: Shrinker, form: SmallerForm, refusal: NoRoom) -> None:
    """Bring a model into a form that fits, and start its engine with that from now on; those who wait for it
    are told if that fails."""
    asked = engine.asked_config
    try:
        smaller = await shrinker.shrink(engine.entry, engine.supervised.config, form)
    except CannotShrink as error:
        _log.error("model_not_converted", model=engine.entry.name, form=form.name, reason=str(error))
        engine.door.turn_away(too_large(engine.entry.name, refusal))
        return
    # Configured anew meanwhile: that is decided anew, too.
    if engine.asked_config is asked:
        engine.supervised.configure(smaller)
        engine.footprint = footprint_of(smaller)


def too_large(name: str, refusal: NoRoom) -> EngineUnavailable:
    """What to tell those who want such a model, with the figures."""
    if refusal.most == refusal.room:
        why = "its 'max_memory' is"
    elif refusal.pinned:
        why = "beside pinned models there are only"
    else:
        why = "the budget of this server is"
    return unavailable.too_large(name, refusal.needs, refusal.room, why)
