"""Which models a key may use, and which one a request means."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai_core.access.caller import Caller, Scope
from ai_core.access.models import (
    default_model_of,
    model_and_adapter_for,
    model_for,
    models_of,
    stand_ins_for,
)
from ai_core.catalog.models import Catalog, ModelEntry
from ai_core.errors import ModelNotFound

CATALOG = Catalog(
    [ModelEntry(name, Path(name), aliases=(f"{name}-alias",)) for name in ("one", "two", "three")], "two"
)


def caller(*allowed: str, default: str | None = None) -> Caller:
    return Caller("id", "name", {Scope.GENERATE}, allowed_models=set(allowed), default_model=default)


@pytest.mark.parametrize(
    ("who", "asked", "meant"),
    [
        (caller(), None, "two"),
        (caller(), "one-alias", "one"),
        (caller(default="three-alias"), None, "three"),
        (caller(default="three"), "one", "one"),
        (caller("three", "one"), None, "one"),
        (caller("three", "two"), None, "two"),
        (caller("one-alias"), "one", "one"),
        (caller("one", "three", default="three"), None, "three"),
    ],
)
def test_the_model_that_is_meant(who: Caller, asked: str | None, meant: str) -> None:
    assert model_for(who, CATALOG, asked).name == meant


@pytest.mark.parametrize("asked", ["two", "two-alias", "unknown"])
def test_what_is_not_allowed_is_not_there(asked: str) -> None:
    with pytest.raises(ModelNotFound) as refused:
        model_for(caller("one", "three"), CATALOG, asked)
    assert refused.value.message == f"There is no model '{asked}' here. Models: one, three."
    assert refused.value.parameter == "model"


def test_a_key_whose_models_are_gone_is_told_so() -> None:
    for who in (caller("gone"), caller(default="gone")):
        with pytest.raises(ModelNotFound):
            model_for(who, CATALOG, None)
        assert default_model_of(who, CATALOG) is None


def test_the_list_holds_what_may_be_used() -> None:
    assert [entry.name for entry in models_of(caller("three", "one-alias"), CATALOG)] == ["one", "three"]
    assert len(models_of(caller(), CATALOG)) == 3


@pytest.mark.parametrize(
    ("asked", "model", "adapter"),
    [
        ("one", "one", ""),
        (None, "two", ""),
        ("one:formal", "one", "formal"),
        ("one-alias:formal", "one", "formal"),
        ("qwen3:0.6b", "qwen3:0.6b", ""),
        ("qwen3:0.6b:formal", "qwen3:0.6b", "formal"),
    ],
)
def test_an_adapter_stands_behind_the_last_colon_unless_the_model_is_called_so(
    asked: str | None, model: str, adapter: str
) -> None:
    catalog = Catalog([*CATALOG.entries, ModelEntry("qwen3:0.6b", Path("q"))], "two")
    entry, found = model_and_adapter_for(caller(), catalog, asked)
    assert (entry.name, found) == (model, adapter)


@pytest.mark.parametrize("asked", ["unknown:formal", ":formal", "one:", "two:formal"])
def test_an_adapter_of_nothing_is_no_model(asked: str) -> None:
    with pytest.raises(ModelNotFound):
        model_and_adapter_for(caller("one"), CATALOG, asked)


def test_stand_ins_come_in_order_and_a_key_opens_no_further_models_by_them() -> None:
    behind = {"one": "two", "two": "three-alias", "three": "four", "four": "two"}
    catalog = Catalog(
        [
            ModelEntry(name, Path(name), aliases=(f"{name}-alias",), fallback=fallback)
            for name, fallback in behind.items()
        ]
    )
    first = catalog.resolve("one")
    assert [entry.name for entry in stand_ins_for(caller(), catalog, first)] == ["two", "three", "four"]
    assert [entry.name for entry in stand_ins_for(caller("one", "three"), catalog, first)] == ["three"]
    assert stand_ins_for(caller("one"), catalog, first) == []
