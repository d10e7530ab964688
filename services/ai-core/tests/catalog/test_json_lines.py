"""Which line of a JSON text a thing stands in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_core.catalog.json_lines import KeyTwice, Place, lines_in, nearest_line

TEXT = """
{
  "models": {
    "a": {"type": "gguf",
          "aliases": ["x",
                      "y"]},
    "b\\u00e9": {
      "path": "{\\"not\\": [an object"
    }
  }
}
"""
Json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ((), 2),
        (("models",), 3),
        (("models", "a", "type"), 4),
        (("models", "a", "aliases", 0), 5),
        (("models", "a", "aliases", 1), 6),
        (("models", "bé"), 7),
        (("models", "bé", "path"), 8),
    ],
)
def test_each_place_has_its_line(place: Place, line: int) -> None:
    assert lines_in(TEXT)[place] == line


def test_what_is_missing_stands_where_it_should_be() -> None:
    assert nearest_line(lines_in(TEXT), ("models", "bé", "type")) == 7
    assert nearest_line(lines_in(TEXT), ("default_model",)) == 2


def test_a_key_that_is_there_twice_is_shown_where_it_comes_again() -> None:
    with pytest.raises(KeyTwice) as caught:
        lines_in('{"models": {"a": 1,\n"b": 2,\n"a": 3}}')
    assert (caught.value.place, caught.value.line) == (("models", "a"), 3)


def places(value: Any, place: Place = ()) -> list[Place]:
    inner: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [place, *(found for key, one in inner for found in places(one, (*place, key)))]


@given(Json, st.sampled_from([None, 0, 2]), st.booleans())
def test_every_place_of_any_document_is_found(value: Any, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    lines = lines_in(text)
    assert set(lines) == set(places(value))
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())
    if indent is not None and isinstance(value, dict):
        for key in value:
            quoted = json.dumps(key, ensure_ascii=ascii_only)
            assert text.split("\n")[lines[(key,)] - 1].startswith(" " * indent + quoted + ":")
