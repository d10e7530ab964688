"""The vocabulary inside a GGUF file, over the ``tokenizers`` library: the same ids as llama.cpp's.

Byte-level BPE with the expressions below is the same in both; what cannot be done exactly is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from ai_core.engine.backends.hf_vocabulary import HfVocabulary
from ai_core.engine.backends.loading import CannotLoad

_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_ONE_DIGIT = _WORDS + r"\p{N}" + _REST
_THREE_DIGITS = _WORDS + r"\p{N}{1,3}" + _REST
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
EXPRESSIONS = {
    "qwen2": _ONE_DIGIT,
    "llama-bpe": _THREE_DIGITS,
    "llama3": _THREE_DIGITS,
    "llama-v3": _THREE_DIGITS,
    "gpt-2": _GPT2,
}
"""How texts are cut into words before they are merged, by ``tokenizer.ggml.pre``: Qwen2's, Llama 3's and
GPT-2's own expressions, as in ``llama-vocab.cpp``."""
_WHOLE_WORDS = frozenset({"llama-bpe", "llama3", "llama-v3"})
"""A word that is a token as a whole is not cut and merged (``ignore_merges``)."""
_UNKNOWN, _CONTROL, _USER_DEFINED = 2, 3, 4
"""``tokenizer.ggml.token_type``."""
_ENDS = ("eos_token_id", "eot_token_id", "eom_token_id")


def vocabulary_of(metadata: Mapping[str, Any], path: str) -> HfVocabulary:
    """The vocabulary of a file with this metadata.

    Raises:
        CannotLoad: it is of another kind, or not complete.
    """
    tokenizer = tokenizer_of(metadata, path)
    tokens = metadata["tokenizer.ggml.tokens"]
    return HfVocabulary(
        tokenizer,
        bos=_text(metadata, tokens, "bos_token_id"),
        eos=_text(metadata, tokens, "eos_token_id"),
        ends=[token for key in _ENDS if (token := _id(metadata, tokens, key)) is not None],
        chat_template=metadata.get("tokenizer.chat_template"),
        adds_bos=bool(
            metadata.get("tokenizer.ggml.add_bos_token", metadata["tokenizer.ggml.pre"] in _WHOLE_WORDS)
        ),
    )


def tokenizer_of(metadata: Mapping[str, Any], path: str) -> Tokenizer:
    """The same as the library's own object. Raises CannotLoad."""
    kind, words = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre")
    if kind != "gpt2":
        raise CannotLoad(_cannot(path, f"a tokenizer of the kind '{kind}'"))
    if words not in EXPRESSIONS:
        raise CannotLoad(_cannot(path, f"a tokenizer that cuts words as '{words}' does"))
    tokens = metadata.get("tokenizer.ggml.tokens")
    merges = metadata.get("tokenizer.ggml.merges")
    types = metadata.get("tokenizer.ggml.token_type") or [1] * len(tokens or [])
    if not tokens or merges is None or len(types) != len(tokens):
        raise CannotLoad(f"{path} has no complete tokenizer: tokens, types or merges are missing")
    return _tokenizer(tokens, types, merges, words)


def _tokenizer(tokens: list[str], types: list[int], merges: list[str], words: str) -> Tokenizer:
    vocabulary = {text: number for number, text in enumerate(tokens)}
    pairs = [(left, right) for left, _, right in (_cut(merge) for merge in merges)]
    tokenizer = Tokenizer(models.BPE(vocabulary, pairs, ignore_merges=words in _WHOLE_WORDS))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(EXPRESSIONS[words]), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens(
        [
            AddedToken(text, special=type_ != _USER_DEFINED, normalized=False)
            for text, type_ in zip(tokens, types, strict=True)
            if type_ in (_UNKNOWN, _CONTROL, _USER_DEFINED)
        ]
    )
    return tokenizer


def _cut(merge: str) -> tuple[str, str, str]:
    # A space never stands for itself in the alphabet of bytes, so the first one is the border.
    return merge.partition(" ")


def _id(metadata: Mapping[str, Any], tokens: list[str], key: str) -> int | None:
    value = metadata.get(f"tokenizer.ggml.{key}")
    return value if isinstance(value, int) and 0 <= value < len(tokens) else None


def _text(metadata: Mapping[str, Any], tokens: list[str], key: str) -> str:
    number = _id(metadata, tokens, key)
    return "" if number is None else tokens[number]


def _cannot(path: str, what: str) -> str:
    known = ", ".join(sorted(EXPRESSIONS))
    return (
        f"{path} has {what}, which only llama.cpp reads exactly (here: byte-level BPE of {known}): use the "
        "engine llama.cpp for it"
    )
