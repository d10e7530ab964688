"""What is found out about chat templates, and how they are given calls and results."""

from __future__ import annotations

import json
from typing import Any

import pytest

import chat_templates as templates
from ai_core.engine.chat.call_forms import CallForm, Family
from ai_core.engine.chat.conversation import as_tools
from ai_core.engine.chat.template import ChatTemplate
from ai_core.engine.chat.thinking import Tags
from ai_core.engine.messages import ChatMessage, Tool, ToolCall

WEATHER = Tool(
    "get_weather",
    "Tells the weather.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
LONG_ID = "call_0123456789abcdef"
CONVERSATION = [
    ChatMessage("user", "Quel temps à Paris ?"),
    ChatMessage("assistant", "", [ToolCall(LONG_ID, "get_weather", '{"city": "Orléans"}')]),
    ChatMessage("tool", "18 °C", tool_call_id=LONG_ID),
]


def template(source: str) -> ChatTemplate:
    return ChatTemplate(source, "<s>", "</s>")


def rendered(source: str) -> str:
    chat = template(source)
    return chat.render_conversation(chat.conversation(CONVERSATION), as_tools([WEATHER]))


@pytest.mark.parametrize(
    ("source", "form"),
    [
        (templates.PLAIN, None),
        (templates.HERMES, CallForm(Family.TAGGED)),
        (templates.QWEN_3, CallForm(Family.TAGGED)),
        (templates.LLAMA_3, CallForm(Family.BARE, "parameters")),
        (templates.MISTRAL, CallForm(Family.LISTED)),
        (templates.MISTRAL_NAMED, CallForm(Family.LISTED, named=True)),
        (templates.PARTICULAR, CallForm(Family.TAGGED)),
        (templates.TAGS_WITHIN_TAGS, None),
        (templates.LIST_BEHIND_TAG, None),
        (templates.FORGETFUL, None),
        (templates.ALWAYS_THINKING, None),
        ("{{ raise_exception('never') if tools }}", None),
        ("{{ messages[0].content }}{# tools #}", None),
    ],
)
def test_the_form_of_calls_is_the_one_that_the_template_writes(source: str, form: CallForm | None) -> None:
    assert template(source).abilities.calls == form


@pytest.mark.parametrize(
    ("source", "tags", "options"),
    [
        (templates.PLAIN, None, set()),
        (templates.QWEN_3, Tags("<think>", "</think>"), {"enable_thinking", "tools"}),
        (templates.ALWAYS_THINKING, Tags("<think>", "</think>"), set()),
        (templates.SWITCHED_THINKING, Tags("<think>", "</think>"), {"thinking", "reasoning_effort"}),
        (templates.MISTRAL_NAMED, Tags("[THINK]", "[/THINK]"), {"tools"}),
        (templates.LLAMA_3, None, {"tools"}),
        (
            "{% set enable_thinking = enable_thinking | default(true) %}{{ enable_thinking }}",
            None,
            {"enable_thinking"},
        ),
        ("{% set ns = namespace(a=1) %}{{ strftime_now('%Y') ~ bos_token ~ ns.a }}", None, set()),
    ],
)
def test_thoughts_and_options_are_found_in_its_source(
    source: str, tags: Tags | None, options: set[str]
) -> None:
    abilities = template(source).abilities
    assert abilities.thinking == tags
    assert abilities.variables == options


@pytest.mark.parametrize(
    ("source", "call", "result"),
    [
        (
            templates.HERMES,
            '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Orléans"}}\n</tool_call>',
            "<|im_start|>user\n<tool_response>\n18 °C\n</tool_response><|im_end|>",
        ),
        (
            templates.LLAMA_3,
            '{"name": "get_weather", "parameters": {"city": "Orléans"}}<|eot_id|>',
            "ipython<|end_header_id|>\n\n18 °C<|eot_id|>",
        ),
        (
            templates.MISTRAL_NAMED,
            '[TOOL_CALLS]get_weather[ARGS]{"city": "Orléans"}</s>',
            "[TOOL_RESULTS]18 °C[/TOOL_RESULTS]",
        ),
        (
            templates.PARTICULAR,
            '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Orléans"}}\n</tool_call>',
            "tool: 18 °C",
        ),
    ],
)
def test_the_model_reads_tools_calls_and_results_as_its_template_writes_them(
    source: str, call: str, result: str
) -> None:
    text = rendered(source)
    assert "Tells the weather." in text
    assert call in text
    assert result in text
    assert "None" not in text


def test_ids_are_shortened_where_a_template_wants_them_short_and_stay_the_same_id() -> None:
    text = rendered(templates.MISTRAL)
    call_id = text.partition('"id": "')[2][:9]
    assert call_id.isalnum()
    assert f'"call_id": "{call_id}"' in text
    assert LONG_ID not in text


def test_ids_that_are_short_already_are_kept() -> None:
    chat = template(templates.MISTRAL)
    turns = [
        ChatMessage("user", "?"),
        ChatMessage("assistant", "", [ToolCall("abcDEF123", "f", "{}")]),
        ChatMessage("tool", "!", tool_call_id="abcDEF123"),
    ]
    assert chat.render(turns).count("abcDEF123") == 2


def test_a_result_knows_the_name_of_the_function_that_was_called() -> None:
    chat = template("{{ messages[2].name }}{{ messages[2].tool_call_id }}")
    assert chat.render(CONVERSATION) == f"get_weather{LONG_ID}"


def test_arguments_that_are_no_json_object_are_passed_on_as_text() -> None:
    chat = template("{{ messages[0].tool_calls[0].function.arguments }}")
    for arguments in ("{city: Paris}", "[1]", "", "[" * 100_000):
        turn = ChatMessage("assistant", "", [ToolCall("a", "f", arguments)])
        assert chat.render([turn]) == arguments


def test_a_tool_is_described_as_transformers_does() -> None:
    (described,) = as_tools([Tool("now")]) or []
    assert described == {
        "type": "function",
        "function": {
            "name": "now",
            "description": "",
            "parameters": {"type": "object", "properties": {}},
        },
    }
    assert as_tools([]) is None


def test_earlier_thoughts_are_given_to_the_template_under_the_name_that_templates_read() -> None:
    turns = [ChatMessage("user", "?"), ChatMessage("assistant", "Yes.", reasoning="I wonder.")]
    assert "<think>\nI wonder.\n</think>\n\nYes." in template(templates.QWEN_3).render(turns)


def test_the_result_is_what_transformers_makes_of_it() -> None:
    from transformers.utils.chat_template_utils import render_jinja_template

    chat = template(templates.QWEN_3)
    tools: Any = as_tools([WEATHER])
    theirs: Any = render_jinja_template(
        [json.loads(json.dumps(chat.conversation(CONVERSATION)))],
        tools=tools,
        chat_template=templates.QWEN_3,
        add_generation_prompt=True,
        bos_token="<s>",
        eos_token="</s>",
        enable_thinking=False,
    )
    ours = chat.render_conversation(chat.conversation(CONVERSATION), tools, {"enable_thinking": False})
    assert theirs[0] == [ours]
