"""A model's chat template, rendered in a sandbox.

Templates come with the model file, so they are code of strangers. They run as ``transformers`` runs them
("Templates for chat models" in its documentation): the same settings of Jinja, the same functions and
variables.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any, NoReturn

import jinja2
from jinja2 import meta, nodes

from ai_core.engine.chat.abilities import WELL_KNOWN, Abilities, find_abilities
from ai_core.engine.chat.conversation import as_conversation
from ai_core.engine.chat.sandbox import LONGEST_TEXT, RanAway, Sandbox
from ai_core.engine.messages import ChatMessage


class BadTemplate(Exception):
    """The template itself is broken: the model cannot chat."""


class TemplateError(Exception):
    """The template refuses these messages, or fails on them."""


class _Refusal(jinja2.TemplateError):
    """Raised by ``raise_exception`` inside a template."""


_FAILURES = (
    jinja2.TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What the code of a template may raise on messages that it did not expect."""
_SET_FOR_ALL = frozenset(
    {"messages", "documents", "add_generation_prompt", "bos_token", "eos_token"}
    | {"raise_exception", "strftime_now", "namespace", "range", "dict", "lipsum", "cycler", "joiner"}
)
"""Variables and functions that every template has; callers set none of them."""


def _local_time() -> datetime.datetime:
    return datetime.datetime.now().astimezone()


class ChatTemplate:
    """Turns messages into the text that a model was trained on.

    Args:
        source: the Jinja template.
        bos_text, eos_text: texts of the tokens that begin and end a sequence.
        clock: the time for templates that write today's date.

    Raises:
        BadTemplate: not valid Jinja.
    """

    def __init__(
        self,
        source: str,
        bos_text: str,
        eos_text: str,
        clock: Callable[[], datetime.datetime] = _local_time,
    ) -> None:
        self.bos_text = bos_text
        self._source = source
        self._eos_text = eos_text
        self._sandbox = Sandbox()
        self._sandbox.filters["tojson"] = _to_json
        self._sandbox.globals["raise_exception"] = _refuse
        self._sandbox.globals["strftime_now"] = lambda pattern: clock().strftime(pattern)
        try:
            self._template = self._sandbox.from_string(source)
            self._variables = _variables(self._sandbox.parse(source))
        except (jinja2.TemplateError, SyntaxError, RecursionError, MemoryError) as error:
            raise BadTemplate(f"the model's chat template is not valid Jinja: {_where(error)}") from error

    @cached_property
    def abilities(self) -> Abilities:
        """What it can do; found out when first asked for."""
        return find_abilities(self._source, self._variables, self._try)

    def conversation(self, messages: Iterable[ChatMessage]) -> list[dict[str, Any]]:
        """Messages in the shape that this template takes."""
        return as_conversation(messages, self.abilities.history)

    def render(self, messages: Iterable[ChatMessage]) -> str:
        """The prompt for messages alone. Raises TemplateError."""
        return self.render_conversation(self.conversation(messages))

    def render_conversation(
        self,
        conversation: list[dict[str, Any]],
        tools: list[dict[str, Any]] | None = None,
        variables: Mapping[str, bool | int | float | str] = MappingProxyType({}),
    ) -> str:
        """The prompt, up to where the assistant is to speak.

        Args:
            conversation: as :meth:`conversation` gives it.
            tools: as :func:`.conversation.as_tools` gives them.
            variables: further ones that the template may read.

        Raises:
            TemplateError: with the template's own words where it has some.
        """
        self._sandbox.start_rendering()
        pieces = self._template.generate(
            **variables,
            messages=conversation,
            tools=tools,
            documents=None,
            add_generation_prompt=True,
            bos_token=self.bos_text,
            eos_token=self._eos_text,
        )
        try:
            return _join(pieces)
        except (_Refusal, RanAway) as error:
            raise TemplateError(str(error)) from error
        except _FAILURES as error:
            raise TemplateError(f"it failed on these messages ({type(error).__name__}: {error})") from error

    def _try(self, conversation: list[dict[str, Any]], tools: list[dict[str, Any]] | None) -> str | None:
        try:
            return self.render_conversation(conversation, tools)
        except TemplateError:
            return None


def _variables(tree: nodes.Template) -> frozenset[str]:
    """What the template reads and does not set itself; of the well-known ones, also what it gives a default
    by setting it."""
    own = {name.name for name in tree.find_all(nodes.Name) if name.ctx == "store"} - WELL_KNOWN
    return frozenset(meta.find_undeclared_variables(tree) - own - _SET_FOR_ALL)


def _join(pieces: Iterable[str]) -> str:
    parts: list[str] = []
    length = 0
    for piece in pieces:
        parts.append(piece)
        length += len(piece)
        if length > LONGEST_TEXT:
            raise RanAway(f"it writes more than {LONGEST_TEXT} characters")
    return "".join(parts)


def _where(error: BaseException) -> str:
    return f"line {error.lineno}: {error}" if isinstance(error, jinja2.TemplateSyntaxError) else str(error)


def _refuse(message: object) -> NoReturn:
    raise _Refusal(str(message))


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Without the HTML escapes of Jinja's own filter: models are not browsers."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
