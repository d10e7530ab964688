"""Whether a grammar can be used: it is checked, translated and compiled once, on trial."""

from __future__ import annotations

from typing import Any

from llguidance import LLMatcher, LLTokenizer

from ai_core.engine.constraints import json_schema
from ai_core.engine.constraints.bad_grammar import BadGrammar
from ai_core.engine.constraints.compiling import (
    compile_grammar,
    from_schema,
    one_line,
    parse_schema,
    translate,
)
from ai_core.engine.messages import Grammar

_BYTES = 256
BEGINNINGS_TRIED = 4
"""First bytes of answers that are tried: what is too complex often is so from the second one on."""
PLACES_TRIED = 300
"""When the compiler refuses a schema, so many parts of it are tried alone to find the one at fault."""


def judge(tokenizer: LLTokenizer, grammar: Grammar) -> str:
    """The grammar in the compiler's notation, known to compile and to allow the beginning of an answer.

    Raises:
        BadGrammar: what is wrong with it.
    """
    text = translate(grammar)
    try:
        _try_out(tokenizer, text)
    except BadGrammar as error:
        if grammar.kind == "json_schema":
            raise _located(tokenizer, parse_schema(grammar.text), str(error)) from error
        raise
    return text


def _try_out(tokenizer: LLTokenizer, text: str) -> None:
    matcher = compile_grammar(tokenizer, text)
    mask = _mask(matcher)
    first = [byte for byte in range(_BYTES) if mask[byte >> 3] >> (byte & 7) & 1]
    if not first:
        raise BadGrammar("it allows nothing but an empty answer")
    for byte in first[:BEGINNINGS_TRIED]:
        begun = matcher.deep_copy()
        begun.try_consume_tokens([byte])
        _mask(begun)


def _mask(matcher: LLMatcher) -> bytes:
    mask: bytes = matcher.compute_bitmask()
    if matcher.is_error():
        raise BadGrammar(f"it is too complex: {one_line(matcher.get_error())}")
    return mask


def _located(tokenizer: LLTokenizer, schema: Any, reason: str) -> BadGrammar:
    """The same error with its place: the innermost schema that is refused for the same reason."""
    definitions = {}
    if isinstance(schema, dict):
        definitions = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    places = list(json_schema.places(schema))[1 : PLACES_TRIED + 1]
    for place, inner in reversed(places):
        if not isinstance(inner, dict):
            continue
        try:
            compile_grammar(tokenizer, from_schema(definitions | inner))
        except BadGrammar as error:
            if str(error) == reason:
                return BadGrammar(reason, place)
    return BadGrammar(reason, "the top of the schema")
