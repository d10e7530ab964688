"""Which of the things that not every backend can do a request asks for."""

from __future__ import annotations

from collections.abc import Iterator

from ai_core.engine.backends.port import Feature
from ai_core.engine.messages import Submit


def needed(request: Submit) -> Iterator[Feature]:
    """The features without which this request would not be answered as asked."""
    sampling = request.sampling
    if request.grammar is not None or request.chat.tool_choice == "required" or request.chat.forced_tool:
        yield "grammar"
    if request.logprobs is not None:
        yield "logprobs"
    if sampling.logit_bias:
        yield "logit_bias"
    if sampling.repeat_penalty != 1.0:
        yield "repeat_penalty"
    if sampling.min_p:
        yield "min_p"
    if sampling.seed is not None:
        yield "seed"
    if sampling.ignore_eos:
        yield "ignore_eos"
    if request.adapter:
        yield "adapter"


def parameter_of(feature: Feature, request: Submit) -> str:
    """The field of the request that asks for it."""
    if feature != "grammar":
        return feature
    if request.grammar is None:
        return "tool_choice"
    return "grammar" if request.grammar.kind == "gbnf" else "response_format"
