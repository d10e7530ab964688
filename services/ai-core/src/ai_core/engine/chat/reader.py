"""From a chat request to its prompt, and to what its answer may consist of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ai_core.engine.backends.port import Vocabulary
from ai_core.engine.chat.abilities import EFFORT, THINKING_SWITCHES, Abilities
from ai_core.engine.chat.call_forms import MARKS, CallForm, Family
from ai_core.engine.chat.call_grammars import required_call, strict_calls
from ai_core.engine.chat.conversation import texts_in
from ai_core.engine.chat.prompt import encode_chat
from ai_core.engine.chat.reply import ReplyForm
from ai_core.engine.chat.template import ChatTemplate
from ai_core.engine.chat.thinking import Tags
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
        calls = abilities.calls if chat.tools else None
        required = None if calls is None else required_call(calls, chat)
        # What has to look like something begins at once: a model cannot think inside such a grammar.
        at_once = grammar is not None or required is not None
        if required is not None:
            grammar = required.grammar
        elif calls is not None:
            grammar = self._grammar_beside_calls(calls, chat.tools, grammar)
        beginning = _Beginning(abilities.thinking, at_once, "" if required is None else required.opening)
        tokens = encode_chat(
            self._template,
            self._vocabulary,
            messages,
            tools=chat.tools,
            variables=_variables(abilities, chat, think=False if at_once else None),
            begin=beginning.follow,
            limit=limit,
        )
        reply = ReplyForm(
            thinking=abilities.thinking,
            inside=beginning.inside,
            calls=calls,
            names=frozenset(tool.name for tool in chat.tools),
            most_calls=None if chat.parallel_tool_calls else 1,
            opening=beginning.opening,
            marks=self._thinking_marks if calls is None else self._all_marks,
        )
        return ChatPrompt(tokens, reply, grammar)

    def _grammar_beside_calls(
        self, calls: CallForm, tools: Sequence[Tool], grammar: Grammar | None
    ) -> Grammar | None:
        """For an answer that may call functions, or not."""
        if grammar is not None:
            raise ChatRefused(
                "invalid_parameter",
                "tools",
                "an answer whose form is given leaves no room for calls; leave 'tools' or the form out, or "
                "set 'tool_choice' to 'none' or 'required'",
            )
        strict = strict_calls(calls, tools)
        thinks = self._template.abilities.thinking is not None
        marked = any(text in MARKS[calls.family] for text in self._mark_texts)
        if strict is not None and (marked if calls.family is not Family.BARE else thinks):
            raise ChatRefused(
                "invalid_parameter",
                "tools",
                "'strict' can be promised for this model only where a call must be made; set 'tool_choice' "
                "to 'required' or to a function, or leave 'strict' out",
            )
        return strict

    @cached_property
    def _thinking_marks(self) -> Mapping[int, bytes]:
        tags = self._template.abilities.thinking
        return {} if tags is None else self._control_tokens(tags.opening, tags.closing)

    @cached_property
    def _all_marks(self) -> Mapping[int, bytes]:
        calls = self._template.abilities.calls
        return {**self._thinking_marks, **self._control_tokens(*(MARKS[calls.family] if calls else ()))}

    @cached_property
    def _mark_texts(self) -> frozenset[str]:
        return frozenset(text.decode() for text in self._all_marks.values())

    def _control_tokens(self, *texts: str) -> dict[int, bytes]:
        """Those of these texts that this vocabulary has as a token without a text of its own."""
        found = {}
        for text in texts:
            tokens = self._vocabulary.encode(text, add_bos=False, parse_special=True)
            if len(tokens) == 1 and not self._vocabulary.piece(tokens[0]):
                found[tokens[0]] = text.encode()
        return found


@dataclass(slots=True)
class _Beginning:
    """How the answer begins, decided by how the prompt ends."""

    tags: Tags | None
    at_once: bool
    opening: str
    inside: bool = False
    """The prompt has opened the thoughts, and they go on in the answer."""

    def follow(self, prompt: str) -> str:
        """What stands behind the prompt that the template wrote."""
        if self.tags is None or not self.tags.left_open(prompt):
            return self.opening
        self.inside = not self.at_once
        return self.opening if self.inside else f"\n{self.tags.closing}\n\n{self.opening}"


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
