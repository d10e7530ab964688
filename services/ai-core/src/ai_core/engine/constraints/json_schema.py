"""What a JSON schema may say here: a pure check, before anything is compiled.

The compiler (llguidance) knows most of JSON Schema's draft 2020-12, but it ignores keywords that it
does not know, does not say where in a schema a mistake is, and takes schemas that no finite text
satisfies. So every keyword is looked at here first: it is supported exactly, or it is a mere
annotation, or the schema is refused with the keyword and its place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from ai_core.engine.constraints.bad_grammar import BadGrammar, quoted

MAX_DEPTH = 80
"""Of objects and lists in each other, in the schema's own text."""
MAX_SCHEMAS = 2_000
"""Schemas in a schema, itself included."""
MAX_OPTIONAL = 200
"""Optional properties of one object: the parser has an item for each that may come next, in every step."""
MAX_VALUES = 10_000
"""Entries of all ``enum`` together."""
MAX_REPETITION = 100_000
"""Largest bound on a length or a number of items."""

TYPES = frozenset({"null", "boolean", "object", "array", "number", "string", "integer"})
FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"}
)
DIALECTS = re.compile(r"https?://json-schema\.org/(draft/2020-12|draft-07)/schema#?")
_SCALARS = TYPES - {"object", "array"}
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_MAPS = ("properties", "patternProperties")
_DEFINITIONS = ("$defs", "definitions")
_SINGLE = ("additionalProperties", "items")


def check(schema: Any) -> None:
    """Whether this schema can be compiled, as far as can be said without compiling it.

    Raises:
        BadGrammar: with the place as a JSON pointer.
    """
    _refuse_depth(schema)
    _Checker(schema).run()


def _refuse_depth(value: Any) -> None:
    level, depth = [value] if isinstance(value, dict | list) else [], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise BadGrammar(f"the schema is nested more than {MAX_DEPTH} deep")
        values = [one.values() if isinstance(one, dict) else one for one in level]
        level = [inner for several in values for inner in several if isinstance(inner, dict | list)]


def places(schema: Any) -> Iterator[tuple[str, Any]]:
    """Every schema inside a schema, with its place; inner ones after outer ones."""
    todo = [("", schema)]
    while todo:
        place, inner = todo.pop()
        yield place, inner
        todo.extend(_inner(place, inner))


def _inner(place: str, schema: Any) -> list[tuple[str, Any]]:
    """The schemas directly inside one that was found to be well formed."""
    if not isinstance(schema, dict):
        return []
    found = [(f"{place}/{key}", schema[key]) for key in _SINGLE if key in schema]
    for key in _LISTS:
        found += [(f"{place}/{key}/{index}", inner) for index, inner in enumerate(schema.get(key, ()))]
    for key in (*_MAPS, *_DEFINITIONS):
        found += [(f"{place}/{key}/{_escaped(name)}", inner) for name, inner in schema.get(key, {}).items()]
    return found


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


class _Checker:
    def __init__(self, root: Any) -> None:
        self._root = root
        self._schemas: dict[str, Any] = {}
        self._values = 0

    def run(self) -> None:
        todo = [("", self._root)]
        while todo:
            place, schema = todo.pop()
            if place in self._schemas:
                continue
            self._schemas[place] = schema
            self._refuse_size(place)
            self._look_at(place, schema)
            todo.extend(_inner(place, schema))
            target = self._target(place, schema)
            if target is not None:
                todo.append((target, _resolve(self._root, target)))
        self._refuse_endless()

    def _refuse_size(self, place: str) -> None:
        if len(self._schemas) > MAX_SCHEMAS:
            raise BadGrammar(f"the schema has more than {MAX_SCHEMAS} schemas in it", _named(place))

    def _look_at(self, place: str, schema: Any) -> None:
        if isinstance(schema, bool):
            return
        if not isinstance(schema, dict):
            raise BadGrammar("a schema must be an object or a boolean", _named(place))
        for keyword, value in schema.items():
            rule = _RULES.get(keyword)
            if rule is None:
                raise BadGrammar(f"the keyword {quoted(keyword)} is not supported", _named(place))
            problem = rule(value)
            if problem is not None:
                raise BadGrammar(f"{quoted(keyword)} {problem}", _named(place))
        self._values += len(schema.get("enum", ()))
        if self._values > MAX_VALUES:
            raise BadGrammar(f"the schema has more than {MAX_VALUES} values in its enums", _named(place))
        _refuse_properties(place, schema)

    def _target(self, place: str, schema: Any) -> str | None:
        """The place that a schema's ``$ref`` points at."""
        if not isinstance(schema, dict) or "$ref" not in schema:
            return None
        reference = schema["$ref"]
        if reference != "#" and not reference.startswith("#/"):
            problem = f"$ref {quoted(reference)} points outside of this schema; only '#/…' is supported"
            raise BadGrammar(problem, _named(place))
        target = unquote(reference[1:])
        try:
            _resolve(self._root, target)
        except LookupError:
            raise BadGrammar(f"$ref {quoted(reference)} points at nothing", _named(place)) from None
        return target

    def _refuse_endless(self) -> None:
        """Refuse what could be begun and never finished: a list that must hold a list that must …"""
        endless = self._reachable() - self._ending()
        if endless:
            raise BadGrammar(
                "an answer could never end, because each value has to contain another one of its kind; "
                "make one of the properties optional or allow null",
                _named(min(endless, key=lambda place: (len(place), place))),
            )

    def _reachable(self) -> set[str]:
        reached: set[str] = set()
        todo = [""]
        while todo:
            place = todo.pop()
            if place in reached:
                continue
            reached.add(place)
            schema = self._schemas[place]
            target = self._target(place, schema)
            todo += [] if target is None else [target]
            todo += [
                inner
                for inner, _ in _inner(place, schema)
                if inner[len(place) + 1 :].partition("/")[0] not in _DEFINITIONS
            ]
        return reached

    def _ending(self) -> set[str]:
        """The places whose schemas some finite text satisfies, as far as recursion goes."""
        ending: set[str] = set()
        waiting = list(reversed(self._schemas))
        while waiting:
            still = [place for place in waiting if not self._ends(place, ending)]
            if len(still) == len(waiting):
                break
            waiting = still
        return ending

    def _ends(self, place: str, ending: set[str]) -> bool:
        schema = self._schemas[place]
        if isinstance(schema, bool) or "enum" in schema or "const" in schema:
            ending.add(place)
            return True
        target = self._target(place, schema)
        ends = (
            (target is None or target in ending)
            and all(f"{place}/allOf/{index}" in ending for index in range(len(schema.get("allOf", ()))))
            and all(
                any(f"{place}/{key}/{index}" in ending for index in range(len(schema[key])))
                for key in ("anyOf", "oneOf")
                if key in schema
            )
            and _own_types_end(place, schema, ending)
        )
        if ends:
            ending.add(place)
        return ends


def _own_types_end(place: str, schema: dict[str, Any], ending: set[str]) -> bool:
    declared = schema.get("type", ())
    types = {declared} if isinstance(declared, str) else set(declared) or TYPES
    if types & _SCALARS:
        return True
    return ("array" in types and _array_ends(place, schema, ending)) or (
        "object" in types and _object_ends(place, schema, ending)
    )


def _array_ends(place: str, schema: dict[str, Any], ending: set[str]) -> bool:
    least = schema.get("minItems", 0)
    first = len(schema.get("prefixItems", ()))
    if not all(f"{place}/prefixItems/{index}" in ending for index in range(min(least, first))):
        return False
    return least <= first or "items" not in schema or f"{place}/items" in ending


def _object_ends(place: str, schema: dict[str, Any], ending: set[str]) -> bool:
    properties = schema.get("properties", {})
    return all(
        f"{place}/properties/{_escaped(name)}" in ending
        for name in schema.get("required", ())
        if name in properties
    )


def _refuse_properties(place: str, schema: dict[str, Any]) -> None:
    required = set(schema.get("required", ()))
    if len(schema.get("properties", {}).keys() - required) > MAX_OPTIONAL:
        problem = f"more than {MAX_OPTIONAL} properties are optional; put the others under 'required'"
        raise BadGrammar(problem, _named(place))
    # Names of further properties may come twice in a text, and count once.
    if schema.get("minProperties", 0) > len(required) + 1:
        problem = "'minProperties' is supported up to one more than the number of 'required' properties"
        raise BadGrammar(problem, _named(place))


def _resolve(root: Any, pointer: str) -> Any:
    value = root
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        value = _entry(value, name)
    return value


def _entry(value: Any, name: str) -> Any:
    match value:
        case dict():
            return value[name]
        case list() if name.isascii() and name.isdecimal():
            return value[int(name)]
        case _:
            raise LookupError(name)


def _named(place: str) -> str:
    if not place:
        return "the top of the schema"
    return place if len(place) <= 200 else "…" + place[-199:]


# --- what each keyword takes: None, or what is wrong with its value ----------------------------------

_Rule = Callable[[Any], str | None]


def _anything(_value: Any) -> None:
    return None


def _boolean(value: Any) -> str | None:
    return None if isinstance(value, bool) else "must be a boolean"


def _text(value: Any) -> str | None:
    return None if isinstance(value, str) else "must be a string"


def _count(value: Any) -> str | None:
    if _number(value) is not None or value != int(value) or value < 0:
        return "must be a whole number from 0"
    return None if value <= MAX_REPETITION else f"must be at most {MAX_REPETITION}"


def _number(value: Any) -> str | None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return None if good else "must be a number"


def _step(value: Any) -> str | None:
    return _number(value) or (None if value > 0 else "must be greater than 0")


def _pattern(value: Any) -> str | None:
    return _text(value) or (None if len(value) <= 10_000 else "is longer than 10,000 characters")


def _format(value: Any) -> str | None:
    if isinstance(value, str) and value in FORMATS:
        return None
    return f"must be one of {', '.join(sorted(FORMATS))}"


def _type(value: Any) -> str | None:
    names = value if isinstance(value, list) else [value]
    if names and all(isinstance(name, str) and name in TYPES for name in names):
        return None
    return f"must be one of {', '.join(sorted(TYPES))}, or a list of some"


def _names(value: Any) -> str | None:
    good = isinstance(value, list) and all(isinstance(name, str) for name in value)
    return None if good else "must be a list of strings"


def _values(value: Any) -> str | None:
    return None if isinstance(value, list) and value else "must be a list with at least one value"


def _schema(value: Any) -> str | None:
    return None if isinstance(value, dict | bool) else "must be a schema"


def _schemas(value: Any) -> str | None:
    return None if isinstance(value, list) and value else "must be a list with at least one schema"


def _schemas_by_name(value: Any) -> str | None:
    return None if isinstance(value, dict) else "must be an object of schemas"


def _dialect(value: Any) -> str | None:
    known = isinstance(value, str) and DIALECTS.fullmatch(value) is not None
    return None if known else "must be draft 2020-12 or draft-07"


_RULES: Mapping[str, _Rule] = {
    **dict.fromkeys(("title", "description", "$comment", "$id"), _text),
    **dict.fromkeys(("default", "examples", "discriminator"), _anything),
    **dict.fromkeys(("deprecated", "readOnly", "writeOnly"), _boolean),
    "$schema": _dialect,
    "$ref": _text,
    **dict.fromkeys((*_MAPS, *_DEFINITIONS), _schemas_by_name),
    **dict.fromkeys(_LISTS, _schemas),
    **dict.fromkeys(_SINGLE, _schema),
    "type": _type,
    "enum": _values,
    "const": _anything,
    "required": _names,
    **dict.fromkeys(("minProperties", "maxProperties", "minItems", "maxItems"), _count),
    **dict.fromkeys(("minLength", "maxLength"), _count),
    "pattern": _pattern,
    "format": _format,
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _number),
    "multipleOf": _step,
}
