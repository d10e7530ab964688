"""From a schema or a grammar to something that says which tokens may come next.

The work is done by llguidance (https://github.com/guidance-ai/llguidance), in Rust.
"""

from __future__ import annotations

import json
import re
from typing import Any, Protocol

import msgspec
from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper

from ai_core.engine.constraints import calls, gbnf, json_schema
from ai_core.engine.constraints.bad_grammar import BadGrammar
from ai_core.engine.messages import Grammar

MAX_SCHEMA_BYTES = 512 * 1024
WHITE_SPACE = r" |\n[ \t]{0,32}"
"""Between the parts of a JSON text: one space, or a new line that is indented. Bounded, because a small
model that is not sure what to say would go on with spaces."""
_MAX_ITEMS_IN_ROW = 1_000
_STEP_MAX_ITEMS = 20_000
_STEP_LEXER_FUEL = 50_000
_INITIAL_LEXER_FUEL = 1_000_000
_MAX_LEXER_STATES = 20_000
_MAX_GRAMMAR_SIZE = 200_000
_LONGEST_REASON = 300
_OUR_PLACE = re.compile(r"^(at )?\d+\(\d+\): (failed to compile JSON schema: )?")
_OUR_TEXT = re.compile(r"\n +1 \| ")


def limits() -> LLParserLimits:
    """What one grammar may cost: about 1 ms of parsing and 4 ms of lexing in a step, 40 MB in all.

    Source: the rates in llguidance's ``_lib.pyi`` (20,000 items, 14,000 units of fuel per ms; 2 kB per
    state).
    """
    return LLParserLimits(
        max_items_in_row=_MAX_ITEMS_IN_ROW,
        step_max_items=_STEP_MAX_ITEMS,
        step_lexer_fuel=_STEP_LEXER_FUEL,
        initial_lexer_fuel=_INITIAL_LEXER_FUEL,
        max_lexer_states=_MAX_LEXER_STATES,
        max_grammar_size=_MAX_GRAMMAR_SIZE,
        verbose_errors=False,
    )


def translate(grammar: Grammar) -> str:
    """A grammar in the compiler's notation (Lark, as llguidance has it).

    Raises:
        BadGrammar: it cannot be used; says what is wrong and where.
    """
    match grammar.kind:
        case "gbnf":
            return _head() + gbnf.to_lark(grammar.text)
        case "json_object":
            return from_schema({"type": "object"})
        case "json_schema":
            schema = parse_schema(grammar.text)
            json_schema.check(schema)
            return from_schema(schema)
        case "calls":
            return _head() + calls.to_lark(grammar.text, _inline)


def parse_schema(text: str) -> Any:
    """The value of a JSON text. Raises BadGrammar."""
    if len(text) > MAX_SCHEMA_BYTES:
        raise BadGrammar(f"the schema has more than {MAX_SCHEMA_BYTES} characters")
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadGrammar(f"the schema is no JSON text: {error}") from error


def from_schema(schema: Any) -> str:
    """A checked schema in the compiler's notation."""
    return f"{_head()}start: {_inline(schema)}\n"


def _inline(schema: Any) -> str:
    """A checked schema as a part of a rule."""
    options = {"x-guidance": {"whitespace_pattern": WHITE_SPACE}}
    if isinstance(schema, bool):
        schema = {} if schema else {"enum": []}
    return f"%json {json.dumps(options | schema, ensure_ascii=False)}"


def compile_grammar(tokenizer: LLTokenizer, text: str) -> LLMatcher:
    """A compiled grammar at its beginning. Releases the GIL while it works.

    Raises:
        BadGrammar: the compiler does not take it.
    """
    matcher = LLMatcher(tokenizer, text, log_level=0, limits=limits())
    if matcher.is_error():
        raise BadGrammar(one_line(matcher.get_error()))
    return matcher


def one_line(reason: str) -> str:
    """The compiler's words, fit for a message: without its state, and without our text around a schema."""
    reason = _OUR_TEXT.split(reason.partition("<state>")[0])[0]
    reason = " ".join(_OUR_PLACE.sub("", reason).split())
    if reason.startswith("oneOf constraints are not supported"):
        return "'oneOf' is supported where no value can satisfy two of its schemas; use 'anyOf'"
    return reason if len(reason) <= _LONGEST_REASON else reason[: _LONGEST_REASON - 1] + "…"


class Words(Protocol):
    """What is known of a model's vocabulary."""

    def piece(self, token: int) -> bytes:
        """The bytes that a token stands for; empty for control tokens."""

    @property
    def end_tokens(self) -> frozenset[int]:
        """Tokens that end an answer."""


class _Wrapped:
    """A vocabulary as llguidance wants to see it."""

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, words: Words, size: int) -> None:
        self.tokens = [words.piece(token) for token in range(size)]
        # A model without an end gets one that it cannot say.
        self.ends = sorted(words.end_tokens) or [size]
        self.tokens += [b""] * (self.ends[-1] - size + 1)
        self.eos_token_id = self.ends[0]
        self.special_token_ids = [
            token for token, piece in enumerate(self.tokens) if not piece or token in words.end_tokens
        ]

    def __call__(self, _text: str | bytes) -> list[int]:
        raise NotImplementedError("grammars are compiled with no_forcing, which tokenizes nothing")


def tokenizer_for(words: Words, size: int) -> LLTokenizer:
    """The vocabulary in the compiler's form: takes about half a second for 150,000 tokens.

    Tokens that show no text are known as control tokens, which no grammar allows; those that end an
    answer are allowed where the grammar may end.
    """
    wrapped = _Wrapped(words, size)
    return LLTokenizer(TokenizerWrapper(wrapped), n_vocab=len(wrapped.tokens), eos_token=wrapped.ends)


def byte_tokenizer() -> LLTokenizer:
    """A vocabulary of single bytes: to try grammars without a model."""
    return LLTokenizer("byte")


def _head() -> str:
    # Without it, forced texts would be tokenized through a call into Python in the middle of a mask.
    return '%llguidance {"no_forcing": true}\n'
