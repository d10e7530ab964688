"""What a chat template may do: Jinja's sandbox, with everything that could run away counted.

Jinja can only repeat something with a loop or a call, and only build a long text with an operator or by
output. Loops and calls are counted per rendering, the results of operators are measured. What is left to
the process's own limits: widths inside format strings (``'%9999999d'``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

LONGEST_TEXT = 8 * 1024 * 1024
"""Characters that a text may have, in between and in the end."""
MOST_REPETITIONS = 200_000
"""Turns of loops, and calls, in one rendering. Takes a fraction of a second."""
_LARGEST_NUMBER = 1_000_000
_MOST_BITS = 4096

_COUNTED = "loops are counted"
_MEASURED = "texts are measured"


class RanAway(jinja2.TemplateError):
    """The template wants to do more than any chat template has to."""


class Sandbox(ImmutableSandboxedEnvironment):
    """An environment for one template, configured as ``transformers`` does for chat templates."""

    intercepted_binops = frozenset({"+", "*", "**"})

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", GenerationBlock]
        )
        self._repetitions = 0
        for name in ("center", "format", "indent"):
            del self.filters[name]
        self.filters[_COUNTED] = self._count_loop
        self.filters[_MEASURED] = _measure

    def start_rendering(self) -> None:
        """Repetitions are counted from here."""
        self._repetitions = 0

    def call(self, context: Context, called: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Every call of a function, method or macro in a template."""
        self._count(1)
        if any(isinstance(value, int) and abs(value) > _LARGEST_NUMBER for value in args):
            raise RanAway(f"it passes a number beyond {_LARGEST_NUMBER} to a function")
        result = super().call(context, called, *args, **kwargs)
        return _measure(result)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Every operator that can make its result much larger than its operands."""
        if operator == "*":
            _check_length(_length(left) * _number(right) + _length(right) * _number(left))
        elif operator == "**" and abs(_number(right)) > 64:
            raise RanAway("it uses an exponent beyond 64")
        return _measure(super().call_binop(context, operator, left, right))

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree: nodes.Template = _Guard().visit(super()._parse(source, name, filename))
        return tree

    def _count(self, repetitions: int) -> None:
        self._repetitions += repetitions
        if self._repetitions > MOST_REPETITIONS:
            raise RanAway(f"it repeats something more than {MOST_REPETITIONS} times")

    def _count_loop(self, values: Iterable[Any]) -> Iterable[Any]:
        if isinstance(values, Sized):
            self._count(len(values))
            return values
        return self._count_each(values)

    def _count_each(self, values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            self._count(1)
            yield value


class GenerationBlock(Extension):
    """``{% generation %}`` marks what the assistant said, for training; here it has no effect."""

    tags = {"generation"}  # noqa: RUF012 (Jinja's own declaration)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Guard(NodeTransformer):
    """Puts every loop under the count, and every ``~`` under the measure."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 (named by Jinja)
        self.generic_visit(node)
        node.iter = _filter(node.iter, _COUNTED)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 (named by Jinja)
        self.generic_visit(node)
        return _filter(node, _MEASURED)


def _filter(node: nodes.Node, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


def _measure(value: Any) -> Any:
    _check_length(_length(value))
    if _number(value).bit_length() > _MOST_BITS:
        raise RanAway(f"it computes a number of more than {_MOST_BITS} bits")
    return value


def _check_length(length: int) -> None:
    if length > LONGEST_TEXT:
        raise RanAway(f"it makes a text or list longer than {LONGEST_TEXT}")


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str | bytes | list | tuple) else 0


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0
