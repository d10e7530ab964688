"""The forms in which families of models write function calls."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum


class Family(StrEnum):
    """How a call is told from text."""

    TAGGED = "tagged"
    """``<tool_call>{"name": …, "arguments": {…}}</tool_call>``: Hermes, Qwen."""
    BARE = "bare"
    """``{"name": …, "parameters": {…}}`` as the whole answer, or behind ``<|python_tag|>``: Llama 3."""
    LISTED = "listed"
    """``[TOOL_CALLS][{"name": …, "arguments": {…}}]``, or ``[TOOL_CALLS]name[ARGS]{…}``: Mistral."""


TAG, END_TAG = "<tool_call>", "</tool_call>"
PYTHON_TAG = "<|python_tag|>"
LIST_MARK, ARGUMENTS_MARK, ID_MARK = "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"

MARKS: dict[Family, tuple[str, ...]] = {
    Family.TAGGED: (TAG, END_TAG),
    Family.BARE: (PYTHON_TAG,),
    Family.LISTED: (LIST_MARK, ARGUMENTS_MARK, ID_MARK),
}
"""The texts around calls. In some vocabularies they are control tokens, which have no text otherwise."""


@dataclass(frozen=True, slots=True)
class CallForm:
    """How one model writes calls."""

    family: Family
    arguments_key: str = "arguments"
    named: bool = False
    """Of the listed ones: the name stands before the arguments, outside of the JSON."""

    def opening(self, name: str | None) -> str:
        """The beginning of an answer that is a call: of this function, or of one that the model names
        itself. What has to follow is JSON: the arguments; or an object with name and arguments."""
        if name is not None and self.named:
            return f"{LIST_MARK}{name}{ARGUMENTS_MARK}"
        before = {Family.TAGGED: f"{TAG}\n", Family.BARE: "", Family.LISTED: f"{LIST_MARK}["}[self.family]
        if name is None:
            return before
        return f'{before}{{"name": {json.dumps(name)}, "{self.arguments_key}": '


def form_in(rendered: str, name: str) -> CallForm | None:
    """The form of the call of this function in a conversation as a template writes it.

    None: there is no call, or its form is none of ours.
    """
    called = re.escape(name)
    if re.search(rf'{re.escape(TAG)}\s*\{{[^<]*"name":\s*"{called}"[^<]*{re.escape(END_TAG)}', rendered):
        return CallForm(Family.TAGGED)
    if re.search(rf'\[TOOL_CALLS\]\s*\[\s*\{{[^\]]*"name":\s*"{called}"', rendered):
        return CallForm(Family.LISTED)
    if re.search(rf"\[TOOL_CALLS\]\s*{called}(\[CALL_ID\][^\[]*)?\[ARGS\]\s*\{{", rendered):
        return CallForm(Family.LISTED, named=True)
    bare = re.search(
        rf'(?<!\[)\s*\{{\s*("type":\s*"function",\s*)?"name":\s*"{called}",\s*"parameters":\s*\{{', rendered
    )
    return CallForm(Family.BARE, "parameters") if bare else None
