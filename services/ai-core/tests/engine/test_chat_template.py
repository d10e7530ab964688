from __future__ import annotations

import datetime
from typing import Any

import pytest

from ai_core.engine.chat.template import BadTemplate, ChatTemplate, TemplateError
from ai_core.engine.messages import ChatMessage

CHATML = """\
{% for message in messages %}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' -}}
{% endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

LLAMA_2 = """\
{% if messages[0]['role'] == 'system' %}
    {% set system = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' %}
    {% set turns = messages[1:] %}
{% else %}
    {% set system, turns = '', messages %}
{% endif %}
{% for message in turns %}
    {% if (message.role == 'user') != (loop.index0 % 2 == 0) %}
        {{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
    {% endif %}
    {% if message.role == 'user' %}
        {{- bos_token + '[INST] ' + (system if loop.first else '') + message.content | trim + ' [/INST]' -}}
    {% else %}
        {{- ' ' + message.content | trim + ' ' + eos_token -}}
    {% endif %}
{% endfor %}
"""

MISTRAL = """\
{{- bos_token }}
{%- for message in messages %}
    {%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('After the optional system message, roles must alternate user and assistant') }}
    {%- endif %}
    {%- if message.role == 'user' %}
        {{- '[INST] ' ~ message.content ~ '[/INST]' }}
    {%- else %}
        {{- ' ' ~ message.content ~ eos_token }}
    {%- endif %}
{%- endfor %}
"""

GEMMA = """\
{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}\
{% endif %}{% for message in messages %}\
{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}
{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}\
{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"""

QWEN_3 = """\
{%- set ns = namespace(last_query=-1) %}
{%- for message in messages[::-1] %}
    {%- if ns.last_query < 0 and message.role == "user" %}
        {%- set ns.last_query = (messages | length - 1) - loop.index0 %}
    {%- endif %}
{%- endfor %}
{%- if tools %}
    {{- '<tools>' + (tools | tojson) + '</tools>' }}
{%- endif %}
{%- for message in messages %}
    {%- set content = message.content if message.content is string else '' %}
    {%- if message.role == "assistant" and '</think>' in content and loop.index0 < ns.last_query %}
        {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
    {%- endif %}
    {%- if message.role == "tool" %}
        {{- '<|im_start|>user\\n<tool_response>\\n' + content + '\\n</tool_response><|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""


def talk(*turns: tuple[str, str]) -> list[ChatMessage]:
    return [ChatMessage(role, content) for role, content in turns]


def rendered(source: str, *turns: tuple[str, str]) -> str:
    return ChatTemplate(source, "<s>", "</s>").render(talk(*turns))


SHORT = (("user", "Bonjour"), ("assistant", "Salut"), ("user", "Ça va ?"))
WITH_SYSTEM = (("system", "Be brief."), *SHORT)


def test_chatml() -> None:
    assert rendered(CHATML, *WITH_SYSTEM) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nBonjour<|im_end|>\n"
        "<|im_start|>assistant\nSalut<|im_end|>\n<|im_start|>user\nÇa va ?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_llama_2_puts_the_system_text_into_the_first_user_turn() -> None:
    assert rendered(LLAMA_2, *WITH_SYSTEM) == (
        "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nBonjour [/INST] Salut </s><s>[INST] Ça va ? [/INST]"
    )


def test_mistral() -> None:
    assert rendered(MISTRAL, *SHORT) == "<s>[INST] Bonjour[/INST] Salut</s>[INST] Ça va ?[/INST]"


def test_gemma_calls_the_assistant_model() -> None:
    assert rendered(GEMMA, *SHORT) == (
        "<s><start_of_turn>user\nBonjour<end_of_turn>\n<start_of_turn>model\nSalut<end_of_turn>\n"
        "<start_of_turn>user\nÇa va ?<end_of_turn>\n<start_of_turn>model\n"
    )


def test_qwen_3_leaves_out_old_thoughts_and_wraps_tool_answers() -> None:
    assert rendered(
        QWEN_3, ("user", "1+1?"), ("assistant", "<think>hm</think>\n\n2"), ("user", "Sure?"), ("tool", "yes")
    ) == (
        "<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n2<|im_end|>\n"
        "<|im_start|>user\nSure?<|im_end|>\n"
        "<|im_start|>user\n<tool_response>\nyes\n</tool_response><|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize("source", [CHATML, LLAMA_2, MISTRAL, GEMMA, QWEN_3])
def test_the_result_is_what_transformers_makes_of_it(source: str) -> None:
    from transformers.utils.chat_template_utils import render_jinja_template

    for turns in (SHORT, (("user", "{{ 1 }}\n\t<b>&amp;"), ("assistant", ""), ("user", " é\r\n"))):
        conversation = [{"role": role, "content": content} for role, content in turns]
        theirs: Any = render_jinja_template(
            [conversation],
            chat_template=source,
            add_generation_prompt=True,
            bos_token="<s>",
            eos_token="</s>",
        )
        assert theirs[0] == [rendered(source, *turns)]


@pytest.mark.parametrize("source", [LLAMA_2, MISTRAL])
def test_roles_that_do_not_alternate_are_refused_in_the_templates_own_words(source: str) -> None:
    with pytest.raises(TemplateError, match="roles must alternate"):
        rendered(source, ("user", "a"), ("user", "b"))


def test_a_system_role_that_the_model_does_not_know_is_refused_in_the_templates_own_words() -> None:
    with pytest.raises(TemplateError, match=r"^System role not supported$"):
        rendered(GEMMA, *WITH_SYSTEM)


def test_what_people_write_is_never_read_as_a_template() -> None:
    assert "{{ bos_token }}{% endfor %}" in rendered(CHATML, ("user", "{{ bos_token }}{% endfor %}"))


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{{ messages[5].content }}", "UndefinedError"),
        ("{{ 1 // 0 }}", "ZeroDivisionError"),
        ("{{ 'a' + 1 }}", "TypeError"),
        ("{{ [1].index(2) }}", "ValueError"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "RecursionError"),
        ("{% include 'other' %}", "TypeError"),
        ("{{ messages.append(1) }}", "SecurityError"),
        ("{{ ''.__class__.__mro__ }}", "SecurityError"),
        ("{{ raise_exception.__globals__.datetime }}", "UndefinedError|SecurityError"),
    ],
)
def test_a_template_that_fails_on_the_messages_says_how(source: str, reason: str) -> None:
    with pytest.raises(TemplateError, match=f"failed on these messages .({reason})"):
        rendered(source, *SHORT)


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(10**6) %}{% endfor %}",
        "{% for a in range(9000) %}{% for b in range(9000) %}{% endfor %}{% endfor %}",
        "{% for a in 'x' * 999 %}{% for b in messages | map('upper') %}{% for c in 'x' * 999 %}"
        + "{% endfor %}" * 3,
        "{% for a in range(999) %}{% for b in range(9999) | map('abs') %}{% endfor %}{% endfor %}",
        "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
        "{{ 'x' * 10**9 }}",
        "{{ 10**9 * 'x' }}",
        "{{ 9 ** (9 ** 9) }}",
        "{% set n = namespace(i=9) %}{% for i in range(64) %}{% set n.i = n.i * n.i %}{% endfor %}",
        "{% set n = namespace(i=9) %}{% for i in range(64) %}{% set n.i = n.i ** 64 %}{% endfor %}",
        "{{ [0] * 10**9 }}",
        "{% set n = namespace(t='x') %}{% for i in range(64) %}{% set n.t = n.t + n.t %}{% endfor %}",
        "{% set n = namespace(t='x') %}{% for i in range(64) %}{% set n.t = n.t ~ n.t %}{% endfor %}",
        "{{ 'x'.ljust(10**10) }}",
        "{% for a in range(9000) %}{{ 'x' * 5000 }}{% endfor %}",
    ],
)
def test_a_template_that_runs_away_is_stopped(source: str) -> None:
    with pytest.raises(TemplateError, match=r"^it (?!failed)|Range too big"):
        rendered(source, ("user", "a"), ("assistant", "b"))


def test_every_rendering_may_repeat_as_much_as_the_first() -> None:
    template = ChatTemplate("{% for a in range(90000) %}{% endfor %}done", "", "")
    assert [template.render(talk(*SHORT)) for _ in range(4)] == ["done"] * 4


def test_a_long_conversation_is_no_runaway() -> None:
    turns = [("user", "question"), ("assistant", "answer")] * 2000 + [("user", "x" * 1_000_000)]
    assert rendered(QWEN_3, *turns).count("<|im_start|>") == 4002


@pytest.mark.parametrize(
    "source", ["{% for %}", "{{ 'a }}", "{% endif %}", "{{ 1 | no_such_filter }}", "{{" + "(" * 5000 + "}}"]
)
def test_a_template_with_an_error_in_it_is_a_bad_template(source: str) -> None:
    with pytest.raises(BadTemplate, match="not valid Jinja"):
        ChatTemplate(source, "", "")


def test_the_line_of_an_error_is_named() -> None:
    with pytest.raises(BadTemplate, match="line 2"):
        ChatTemplate("a\n{% for %}", "", "")


def test_json_is_written_without_html_escapes() -> None:
    source = "{{ messages[0] | tojson }}|{{ messages[0].content | tojson(indent=2) }}"
    assert rendered(source, ("user", "<é & '>")) == '{"role": "user", "content": "<é & \'>"}|"<é & \'>"'


def test_todays_date_comes_from_the_clock() -> None:
    template = ChatTemplate(
        "{{ strftime_now('%d %b %Y') }}", "", "", lambda: datetime.datetime(2026, 5, 1, tzinfo=datetime.UTC)
    )
    assert template.render([]) == "01 May 2026"


def test_the_clock_is_the_local_one_by_default() -> None:
    assert rendered("{{ strftime_now('%Y') | int > 2000 }}") == "True"


def test_loops_may_be_left_early() -> None:
    assert rendered("{% for a in range(9) %}{% if a == 2 %}{% break %}{% endif %}{{ a }}{% endfor %}") == "01"


def test_loops_over_generators_know_their_end() -> None:
    source = (
        "{% for m in messages | selectattr('role', 'equalto', 'user') %}"
        "{{ m.content }}{{ '.' if loop.last else ',' }}{% else %}none{% endfor %}"
    )
    assert rendered(source, *SHORT) == "Bonjour,Ça va ?."


def test_marks_for_training_have_no_effect() -> None:
    assert rendered("a{% generation %}b{% endgeneration %}c") == "abc"


def test_variables_that_transformers_sets_are_there() -> None:
    assert rendered("{{ tools is none and documents is none and add_generation_prompt }}") == "True"
