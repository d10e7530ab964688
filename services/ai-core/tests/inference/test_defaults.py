"""What the models file says counts where a request says nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ai_core.catalog.models import ModelEntry
from ai_core.catalog.sampling import SamplingDefaults
from ai_core.engine.messages import ChatMessage, Sampling
from ai_core.inference.defaults import with_defaults, with_sampling
from ai_core.inference.requests import GenerationRequest

NAMES = sorted(SamplingDefaults.model_fields)


def request(**fields: Any) -> GenerationRequest:
    wanted: dict[str, Any] = {"prompt": "x"} if "messages" not in fields else {}
    wanted |= {"model": None, "sampling": Sampling(), "max_tokens": 5, "stop": []} | fields
    return GenerationRequest(**wanted)


def entry(**fields: Any) -> ModelEntry:
    return ModelEntry("m", Path("m.gguf"), **fields)


def value_of(asked: GenerationRequest, name: str) -> Any:
    return asked.max_tokens if name == "max_tokens" else getattr(asked.sampling, name)


@given(st.sets(st.sampled_from(NAMES)), st.sets(st.sampled_from(NAMES)))
def test_exactly_what_the_caller_left_out_is_the_models(given_: set[str], set_: set[str]) -> None:
    asked = request(given=frozenset(given_))
    answered = with_sampling(asked, dict.fromkeys(set_, 1))
    for name in NAMES:
        default = name in set_ - given_
        assert value_of(answered, name) == (1 if default else value_of(asked, name))


def test_each_of_several_choices_has_a_seed_of_its_own() -> None:
    seeds = [with_sampling(request(choice=n), {"seed": 2**32 - 1}).sampling.seed for n in range(2)]
    assert seeds == [2**32 - 1, 0]


def test_a_chat_without_a_system_message_gets_the_models() -> None:
    model = entry(system_prompt="Be brief.")
    user, own = ChatMessage("user", "hi"), ChatMessage("system", "Be long.")
    assert with_defaults(request(messages=[user]), model).messages == [
        ChatMessage("system", "Be brief."),
        user,
    ]
    assert with_defaults(request(messages=[own, user]), model).messages == [own, user]
    assert with_defaults(request(messages=[user]), entry()).messages == [user]


def test_a_raw_prompt_is_continued_as_it_stands() -> None:
    answered = with_defaults(request(), entry(system_prompt="Be brief."))
    assert (answered.messages, answered.prompt) == (None, "x")
