"""Which models a key may use, and which one a request means."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai_core.access.caller import Caller, Scope
from ai_core.access.models import default_model_of, model_for, models_of
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
