"""A model that is too large as it is stored is brought into a smaller form, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_core.catalog.gguf_header import read_header
from ai_core.catalog.models import ModelEntry
from ai_core.engine.messages import EngineConfig, Sampling, Submit
from ai_core.errors import EngineUnavailable
from ai_core.residency.estimate import estimate
from ai_core.residency.fleet import Fleet
from ai_core.residency.fleet_settings import FleetSettings
from ai_core.residency.shrinker import CannotShrink, DiskShrinker
from ai_core.residency.shrinking import SMALLER_FORMS, SmallerForm, Stored, smaller_form
from ai_core.residency.spawn import EngineSpawner

DEMO_MODEL = Path(__file__).resolve().parents[4] / "models/neo-demo/neo-demo.gguf"
GIGABYTE = 10**9
MISTRAL = Stored(total=16 * GIGABYTE, weights=14 * GIGABYTE, parameters=7 * GIGABYTE)
"""7 billion weights of 16 bits, and 2 GB beside them."""


def form(room: float) -> str | None:
    found = smaller_form(MISTRAL, int(room * GIGABYTE))
    return None if found is None else found.name


def test_the_form_that_loses_least_is_taken() -> None:
    assert (form(12), form(8), form(5)) == ("int8", "4bit", None)


def test_a_model_that_is_as_small_already_has_no_smaller_form() -> None:
    tiny = Stored(total=5 * GIGABYTE, weights=3 * GIGABYTE, parameters=7 * GIGABYTE)
    assert smaller_form(tiny, GIGABYTE * 100) is None


sizes = st.integers(0, 10**12)


@given(sizes, sizes, sizes, sizes)
def test_what_is_chosen_fits_and_is_smaller(beside: int, weights: int, parameters: int, room: int) -> None:
    model = Stored(beside + weights, weights, parameters)
    found = smaller_form(model, room)
    fitting = [
        one
        for one in SMALLER_FORMS
        if 0 < int(parameters * one.bits / 8) < weights and beside + int(parameters * one.bits / 8) <= room
    ]
    assert found == (fitting[0] if fitting else None)


@pytest.fixture
async def spawner() -> AsyncIterator[EngineSpawner]:
    spawner = EngineSpawner()
    yield spawner
    spawner.close()


def demo(kv_cells: int = 4_096) -> EngineConfig:
    return EngineConfig(model_path=str(DEMO_MODEL), kv_cells=kv_cells, max_sequences=4, threads=1)


async def ask(fleet: Fleet) -> str:
    request = Submit(id=0, prompt="Bonjour", sampling=Sampling(temperature=0), max_tokens=8, timeout=60.0)
    answer = await fleet.engine("demo").submit(request)
    return "".join([event.text async for event in answer])


async def test_a_model_that_fits_in_eight_bits_only_is_quantized_once_and_answers(
    spawner: EngineSpawner, tmp_path: Path
) -> None:
    entry = ModelEntry("demo", DEMO_MODEL)
    settings = FleetSettings(budget=estimate(demo()).total - 2_000_000)
    made = tmp_path / "quantized/demo-q8_0.gguf"
    stamps = []
    for _ in range(2):
        fleet = Fleet(spawner, settings, shrinker=DiskShrinker(tmp_path))
        fleet.add(entry, demo())
        texts = await asyncio.gather(ask(fleet), ask(fleet))
        assert texts[0]
        assert texts[0] == texts[1]
        assert fleet.engine("demo").supervised.config.model_path == str(made)
        # Told again what it knows, it goes on with what it has.
        pid = fleet.engine("demo").pid
        fleet.replace(entry, demo())
        await ask(fleet)
        assert fleet.engine("demo").pid == pid
        await fleet.close()
        stamps.append(made.stat().st_mtime_ns)
    assert stamps[0] == stamps[1], "the second server took what the first one had made"
    assert read_header(made).main_type == "Q8_0"
    assert made.with_suffix(".json").exists()


class Refusing:
    """A converter that cannot."""

    async def shrink(self, entry: ModelEntry, config: EngineConfig, form: SmallerForm) -> EngineConfig:
        raise CannotShrink("the disk is full")


@pytest.mark.parametrize("shrinker", [None, Refusing()])
async def test_where_nothing_converts_it_is_refused_with_the_figures(
    spawner: EngineSpawner, shrinker: Refusing | None
) -> None:
    total = estimate(demo()).total
    fleet = Fleet(spawner, FleetSettings(budget=total - 2_000_000), shrinker=shrinker)
    fleet.add(ModelEntry("demo", DEMO_MODEL), demo())
    for _ in range(2):
        with pytest.raises(EngineUnavailable, match=f"{total / 1e9:.2f} GB") as refused:
            await ask(fleet)
        assert refused.value.code == "model_too_large"
    assert fleet.engine("demo").pid is None
    await fleet.close()


async def test_meanwhile_those_who_do_not_want_to_wait_are_told_what_happens(spawner: EngineSpawner) -> None:
    going_on = asyncio.Event()

    class Slow:
        async def shrink(self, entry: ModelEntry, config: EngineConfig, form: SmallerForm) -> EngineConfig:
            await going_on.wait()
            return demo(kv_cells=2_048)

    fleet = Fleet(spawner, FleetSettings(budget=estimate(demo()).total - 2_000_000), shrinker=Slow())
    fleet.add(ModelEntry("demo", DEMO_MODEL), demo())
    waiting = asyncio.create_task(ask(fleet))
    with pytest.raises(EngineUnavailable, match="converted to int8, once") as refused:
        await fleet.engine("demo").load(0.1)
    assert refused.value.code == "model_converting"
    going_on.set()
    assert await waiting
    await fleet.close()
