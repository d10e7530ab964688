"""MAX_PROMPT_LENGTH: prompts that fit the context but not the operator's bound."""

from __future__ import annotations

from ai_core.engine.backends.port import Capabilities
from ai_core.engine.backends.scripted import CHATML, ByteVocabulary
from ai_core.engine.chat.template import ChatTemplate
from ai_core.engine.intake import Intake, Prompt
from ai_core.engine.messages import ChatMessage, Refused, Submit

CAPABILITIES = Capabilities("fake", "none", False, 1_000, 1, 1_000, 258)


def intake(bound: int) -> Intake:
    return Intake(ByteVocabulary(), ChatTemplate(CHATML, "", "<|im_end|>"), CAPABILITIES, bound)


def test_a_prompt_of_the_bound_is_taken_and_one_token_more_is_refused_by_name() -> None:
    assert isinstance(intake(50).read(Submit(id=1, prompt="x" * 50)), Prompt)
    refusal = intake(50).read(Submit(id=1, prompt="x" * 51))
    assert isinstance(refusal, Refused)
    assert (refusal.code, refusal.parameter) == ("context_length_exceeded", "prompt")
    assert "50" in refusal.message


def test_what_the_template_adds_counts() -> None:
    refusal = intake(50).read(Submit(id=1, messages=[ChatMessage("user", "x" * 49)]))
    assert isinstance(refusal, Refused)
    assert refusal.parameter == "messages"


def test_without_a_bound_the_context_decides() -> None:
    assert isinstance(intake(0).read(Submit(id=1, prompt="x" * 999)), Prompt)
    assert isinstance(intake(0).read(Submit(id=1, prompt="x" * 1_000)), Refused)
    assert isinstance(intake(5_000).read(Submit(id=1, prompt="x" * 1_000)), Refused)


def test_a_generating_model_makes_no_embeddings() -> None:
    refusal = intake(0).read(Submit(id=1, inputs=["text"]))
    assert isinstance(refusal, Refused)
    assert (refusal.code, refusal.parameter) == ("model_not_capable", "model")
