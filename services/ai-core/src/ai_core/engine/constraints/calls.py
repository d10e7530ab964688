"""Answers that may call functions, with arguments that keep to the functions' schemas.

Text stays free up to the mark of a call; from there on the grammar decides.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from ai_core.engine.constraints import json_schema
from ai_core.engine.constraints.bad_grammar import BadGrammar, quoted

_SPACE = "/[ \\n]{0,4}/"
_TEXT = "TEXT: /(.|\\n)*/\n"
_NO_OBJECT = "TEXT: /[ \\t\\r\\n]*([^{ \\t\\r\\n](.|\\n)*)?/\n"
"""Text that cannot be mistaken for a call."""


class Function(msgspec.Struct, frozen=True):
    """A function, and the schema of its arguments."""

    name: str
    schema: Any


class Calls(msgspec.Struct, frozen=True):
    """How calls are written (see ``chat.call_forms``), and which there may be.

    ``style``: ``between`` two marks; ``bare``, without any; in a ``list`` behind a mark; ``named``, with the
    name between two marks and the arguments behind them.
    """

    style: Literal["between", "bare", "list", "named"]
    functions: list[Function]
    arguments_key: str = "arguments"
    mark: str = ""
    end_mark: str = ""


def to_lark(text: str, inline: Callable[[Any], str]) -> str:
    """The grammar that a :class:`Calls` as JSON stands for, without its head.

    Args:
        inline: a checked schema in the compiler's notation.

    Raises:
        BadGrammar: a function's schema cannot be used.
    """
    calls = msgspec.json.decode(text, type=Calls)
    for function in calls.functions:
        try:
            json_schema.check(function.schema)
        except BadGrammar as error:
            raise BadGrammar(f"in the parameters of {quoted(function.name)}: {error}") from error
    return _STYLES[calls.style](calls, inline)


def _between(calls: Calls, inline: Callable[[Any], str]) -> str:
    return (
        f"start: marked* TEXT\n{_head(calls)}marked: head {_SPACE} call {_SPACE} {_quoted(calls.end_mark)}\n"
        f"{_objects(calls, inline)}{_TEXT}"
    )


def _bare(calls: Calls, inline: Callable[[Any], str]) -> str:
    return f"start: call (/;? {{0,2}}/ call)* | TEXT\n{_objects(calls, inline)}{_NO_OBJECT}"


def _list(calls: Calls, inline: Callable[[Any], str]) -> str:
    return (
        f'start: TEXT | head {_SPACE} "[" call (/, ?/ call)* "]"\n'
        f"{_head(calls)}{_objects(calls, inline)}{_TEXT}"
    )


def _named(calls: Calls, inline: Callable[[Any], str]) -> str:
    choices = " | ".join(
        f"{_quoted(function.name + calls.end_mark)} {inline(function.schema)}" for function in calls.functions
    )
    return f"start: TEXT | head call ({_quoted(calls.mark)} call)*\n{_head(calls)}call: {choices}\n{_TEXT}"


_STYLES = {"between": _between, "bare": _bare, "list": _list, "named": _named}


def _head(calls: Calls) -> str:
    return f"head[lazy]: TEXT {_quoted(calls.mark)}\n"


def _objects(calls: Calls, inline: Callable[[Any], str]) -> str:
    choices = []
    for function in calls.functions:
        before = f'{{"name": {json.dumps(function.name)}, "{calls.arguments_key}": '
        choices.append(f'{_quoted(before)} {inline(function.schema)} "}}"')
    return f"call: {' | '.join(choices)}\n"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
