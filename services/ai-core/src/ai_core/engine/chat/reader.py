"""From a chat request to its prompt, and to what its answer may consist of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ai_core.engine.backends.port import Vocabulary
from ai_core.engine.chat.abilities import EFFORT, THINKING_SWITCHES, Abilities
from ai_core.engine.chat.call_forms import MARKS, CallForm
from ai_core.engine.chat.conversation import NO_PARAMETERS, texts_in
from ai_core.engine.chat.prompt import encode_chat
from ai_core.engine.chat.reply import ReplyForm
from ai_core.engine.chat.template import ChatTemplate
from ai_core.engine.messages import ChatMessage, ChatOptions, Grammar, RefusalCode, Tool


class ChatRefused(Exception):
    """This model cannot answer a request like this."""

    def __init__(self, code: RefusalCode, parameter: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.parameter = parameter
        self.message = message


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """A conversation that the model can continue."""

    tokens: list[int]
    reply: ReplyForm
    grammar: Grammar | None
    """What the answer has to look like: what the caller asked for, or a call that must be made."""


def characters_in(messages: Sequence[ChatMessage], chat: ChatOptions) -> int:
    """How much text a request brings."""
    turns = sum(len(message.content) + len(message.reasoning) for message in messages)
    calls = sum(len(call.arguments) for message in messages for call in message.tool_calls)
    tools = sum(len(tool.description) for tool in chat.tools)
    return turns + calls + tools + sum(len(text) for tool in chat.tools for text in texts_in(tool.parameters))


class ChatReader:
    """Reads chats for one model."""

    def __init__(self, template: ChatTemplate, vocabulary: Vocabulary) -> None:
        self._template = template
        self._vocabulary = vocabulary

    def read(
        self, messages: Sequence[ChatMessage], chat: ChatOptions, grammar: Grammar | None, limit: int
    ) -> ChatPrompt:
        """The prompt; reading may stop beyond ``limit`` tokens.

        Raises:
            ChatRefused: the model cannot do what is asked of it.
            TemplateError: the template refuses the messages.
        """
        abilities = self._template.abilities
        _check_tools(abilities, messages, chat)
        forced = _forced(chat)
        # An answer that has to look like something begins at once: a model cannot think inside a grammar.
        at_once = grammar is not None or forced is not None
        variables = _variables(abilities, chat, think=False if at_once else None)
        opening = "" if forced is None or abilities.calls is None else abilities.calls.opening(forced.name)
        inside = False

        def begin(prompt: str) -> str:
            nonlocal inside
            tags = abilities.thinking
            left_open = tags is not None and tags.left_open(prompt)
            inside = left_open and not at_once
            closing = f"\n{tags.closing}\n\n" if tags is not None and left_open and at_once else ""
            return closing + opening

        tokens = encode_chat(
            self._template,
            self._vocabulary,
            messages,
            tools=chat.tools,
            variables=variables,
            begin=begin,
            limit=limit,
        )
        calls = abilities.calls if chat.tools else None
        reply = ReplyForm(
            thinking=abilities.thinking,
            inside=inside,
            calls=calls,
            names=frozenset(tool.name for tool in chat.tools),
            most_calls=None if chat.parallel_tool_calls else 1,
            opening=opening,
            marks=self._marks_of(calls),
        )
        return ChatPrompt(tokens, reply, grammar if forced is None else forced.grammar(calls))

    def _marks_of(self, calls: CallForm | None) -> Mapping[int, bytes]:
        return self._thinking_marks if calls is None else self._all_marks

    @cached_property
    def _thinking_marks(self) -> Mapping[int, bytes]:
        tags = self._template.abilities.thinking
        return {} if tags is None else self._control_tokens(tags.opening, tags.closing)

    @cached_property
    def _all_marks(self) -> Mapping[int, bytes]:
        calls = self._template.abilities.calls
        return {**self._thinking_marks, **self._control_tokens(*(MARKS[calls.family] if calls else ()))}

    def _control_tokens(self, *texts: str) -> dict[int, bytes]:
        """Those of these texts that this vocabulary has as a token without a text of its own."""
        found = {}
        for text in texts:
            tokens = self._vocabulary.encode(text, add_bos=False, parse_special=True)
            if len(tokens) == 1 and not self._vocabulary.piece(tokens[0]):
                found[tokens[0]] = text.encode()
        return found


@dataclass(frozen=True, slots=True)
class _Forced:
    """A call that must be made: of one function, or of any."""

    tools: Sequence[Tool]
    name: str | None

    def grammar(self, form: CallForm | None) -> Grammar:
        """What follows the call's opening."""
        if self.name is not None or form is None:
            return _schema(_parameters(self.tools[0]))
        choices = [
            _call_schema(tool, form.arguments_key, f"#/anyOf/{index}/properties/{form.arguments_key}")
            for index, tool in enumerate(self.tools)
        ]
        return _schema({"anyOf": choices})


def _forced(chat: ChatOptions) -> _Forced | None:
    tools = [tool for tool in chat.tools if chat.forced_tool in {"", tool.name}]
    if chat.forced_tool or (chat.tool_choice == "required" and len(tools) == 1):
        return _Forced(tools, tools[0].name)
    return _Forced(tools, None) if chat.tool_choice == "required" and tools else None


def _check_tools(abilities: Abilities, messages: Sequence[ChatMessage], chat: ChatOptions) -> None:
    if abilities.calls is not None:
        return
    if chat.tools:
        raise ChatRefused(
            "tools_not_supported",
            "tools",
            "this model's chat template takes no tools in a form known here; leave 'tools' out, or name "
            "another model",
        )
    if any(message.tool_calls or message.role == "tool" for message in messages):
        raise ChatRefused(
            "tools_not_supported",
            "messages",
            "this model's chat template takes no calls of tools and no results; leave these messages out, "
            "or name another model",
        )


def _variables(
    abilities: Abilities, chat: ChatOptions, *, think: bool | None
) -> dict[str, bool | int | float | str]:
    """What the template is told beside messages and tools."""
    variables = dict(chat.template_options)
    for name in variables:
        if name not in abilities.variables or name == "tools":
            raise ChatRefused(
                "template_option_not_supported",
                "chat_template_kwargs",
                f"this model's chat template has no option '{name}'",
            )
    switch = next((name for name in THINKING_SWITCHES if name in abilities.variables), None)
    if chat.reasoning_effort == "none":
        think = False
        if switch is None and abilities.thinking is not None:
            raise _no_effort("this model always thinks; leave 'reasoning_effort' out")
    elif chat.reasoning_effort:
        if EFFORT not in abilities.variables:
            raise _no_effort("this model's chat template knows no 'reasoning_effort' but 'none'")
        variables[EFFORT] = chat.reasoning_effort
    if switch is not None and think is not None:
        variables.setdefault(switch, think)
    return variables


def _no_effort(message: str) -> ChatRefused:
    return ChatRefused("template_option_not_supported", "reasoning_effort", message)


def _parameters(tool: Tool) -> dict[str, Any]:
    return tool.parameters or NO_PARAMETERS


def _schema(schema: dict[str, Any]) -> Grammar:
    return Grammar("json_schema", json.dumps(schema, ensure_ascii=False))


def _call_schema(tool: Tool, arguments_key: str, place: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"name": {"const": tool.name}, arguments_key: _moved(_parameters(tool), place)},
        "required": ["name", arguments_key],
        "additionalProperties": False,
    }


def _moved(schema: Any, place: str) -> Any:
    """A schema that stands at this place of another: its references begin there."""
    if isinstance(schema, list):
        return [_moved(entry, place) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: place + entry.removeprefix("#")
        if key == "$ref" and isinstance(entry, str) and entry.startswith("#")
        else _moved(entry, place)
        for key, entry in schema.items()
    }
