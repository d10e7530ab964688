"""Vocabularies in Hugging Face's form (``tokenizer.json``), behind ``backends.port.Vocabulary``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from ai_core.engine.backends.loading import CannotLoad

TOKENIZER_FILE = "tokenizer.json"
END_TEXTS = frozenset(
    {
        "<|im_end|>",
        "<|endoftext|>",
        "<|eot_id|>",
        "<|eom_id|>",
        "<|end|>",
        "<|end_of_text|>",
        "<end_of_turn>",
        "<end_of_utterance>",
        "<eos>",
        "</s>",
        "[EOS]",
    }
)
"""Control tokens with these texts end an answer, also where no configuration says so: many folders name
only one of theirs. After llama.cpp's list in ``llama-vocab.cpp``."""
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_WORD_START = "\u2581"
"""What stands for a space in SentencePiece's tokens."""


def _bytes_of_characters() -> dict[str, int]:
    """GPT-2's alphabet: each byte has a printable character (``bytes_to_unicode`` in its encoder.py)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(256 + number): byte for number, byte in enumerate(others)
    }


_BYTES = _bytes_of_characters()


class HfVocabulary:
    """Implements :class:`ai_core.engine.backends.port.Vocabulary`.

    Args:
        tokenizer: its settings are changed.
        bos: the text of the token that begins a sequence, or empty.
        eos: the text of the token that ends one, or empty.
        ends: ids that end an answer, beside ``eos`` and those whose text says so.
        chat_template: the model's own (Jinja), if it has one.
        adds_bos: whether a sequence begins with ``bos``; None: as the tokenizer does it.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        bos: str = "",
        eos: str = "",
        ends: Iterable[int] = (),
        chat_template: str | None = None,
        adds_bos: bool | None = None,
    ) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._added = tokenizer.get_added_tokens_decoder()
        self._way = _way_of(json.loads(tokenizer.to_str()).get("decoder"))
        self._pieces: dict[int, bytes] = {}
        self.size = tokenizer.get_vocab_size(with_added_tokens=True)
        self.bos_text = bos
        self.eos_text = eos
        self.chat_template = chat_template
        bos_id = tokenizer.token_to_id(bos) if bos else None
        if adds_bos is None:
            adds_bos = bos_id is not None and tokenizer.encode("").ids[:1] == [bos_id]
        self._beginning = [bos_id] if adds_bos and bos_id is not None else []
        self._stated_ends = frozenset(ends)

    def encode(self, text: str, *, add_bos: bool, parse_special: bool) -> list[int]:
        """Token ids of a text."""
        # Added tokens that are no special ones are found in any text, as llama.cpp finds user-defined ones.
        self._tokenizer.encode_special_tokens = not parse_special
        tokens = self._tokenizer.encode(text, add_special_tokens=False).ids
        return self._beginning + tokens if add_bos else tokens

    def piece(self, token: int) -> bytes:
        """The bytes that a token stands for; empty for control tokens and for ids that only fill up the
        model's vocabulary."""
        piece = self._pieces.get(token)
        if piece is None:
            piece = self._pieces[token] = self._render(token)
        return piece

    def shown(self, token: int) -> bytes:
        """As :meth:`piece`, but of a control token the text that stands for it in templates."""
        added = self._added.get(token)
        return self.piece(token) or (b"" if added is None else added.content.encode())

    @cached_property
    def end_tokens(self) -> frozenset[int]:
        """Tokens that end an answer."""
        texts = {self.eos_text} if self.eos_text else set()
        texts |= {added.content for added in self._added.values() if added.special} & END_TEXTS
        ids = (self._tokenizer.token_to_id(text) for text in texts)
        return self._stated_ends | {token for token in ids if token is not None}

    @cached_property
    def control_texts(self) -> frozenset[str]:
        """Texts that ``parse_special`` would turn into control tokens."""
        return frozenset(added.content for added in self._added.values())

    def _render(self, token: int) -> bytes:
        added = self._added.get(token)
        if added is not None:
            return b"" if added.special else added.content.encode()
        text = self._tokenizer.id_to_token(token)
        if text is None:
            return b""
        if self._way == "bytes":
            # A character outside the alphabet stands for itself, as in tokenizers' own decoder.
            return b"".join(
                bytes([_BYTES[character]]) if character in _BYTES else character.encode()
                for character in text
            )
        byte = _BYTE_TOKEN.fullmatch(text)
        return bytes([int(byte[1], 16)]) if byte else text.replace(_WORD_START, " ").encode()


def vocabulary_of(folder: Path, ends: Iterable[int] = ()) -> HfVocabulary:
    """The vocabulary of a model's folder: ``tokenizer.json``, and what ``tokenizer_config.json``,
    ``generation_config.json``, ``config.json`` and ``chat_template.jinja`` say beside, where they are.

    Args:
        ends: further ids that end an answer.

    Raises:
        CannotLoad: no tokenizer there, or a file that cannot be read.
    """
    path = folder / TOKENIZER_FILE
    if not path.is_file():
        raise CannotLoad(_missing(folder))
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises nothing more particular
        raise CannotLoad(f"{path} is no tokenizer that can be read: {_first_line(error)}") from error
    described = read_json(folder / "tokenizer_config.json")
    special = read_json(folder / "special_tokens_map.json") | described
    stated = [
        token
        for name in ("generation_config.json", "config.json")
        for token in _ids(read_json(folder / name).get("eos_token_id"))
    ]
    return HfVocabulary(
        tokenizer,
        bos=_token_text(special.get("bos_token")),
        eos=_token_text(special.get("eos_token")),
        ends=[*stated, *ends],
        chat_template=_chat_template(folder, described),
        adds_bos=_flag(described.get("add_bos_token")),
    )


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a model's folder; empty where there is no such file.

    Raises:
        CannotLoad: it cannot be read, or holds something else.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise CannotLoad(f"{path} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise CannotLoad(f"{path} is no JSON text: {_first_line(error)}") from error
    if not isinstance(content, dict):
        raise CannotLoad(f"{path} holds no JSON object")
    return content


def _way_of(decoder: Any) -> str:
    """``bytes``: tokens are written in GPT-2's alphabet; ``text``: as they are."""
    parts: list[Any] = [decoder]
    while parts:
        part = parts.pop()
        if isinstance(part, Mapping):
            if part.get("type") == "ByteLevel":
                return "bytes"
            parts += part.get("decoders", [])
    return "text"


def _missing(folder: Path) -> str:
    if (folder / "tokenizer.model").is_file():
        return (
            f"{folder} has a SentencePiece tokenizer.model, but no {TOKENIZER_FILE}: load it once with "
            "transformers' AutoTokenizer and save it into the folder with save_pretrained"
        )
    return f"the tokenizer is missing: {folder} has no {TOKENIZER_FILE}; copy it from where the model is from"


def _chat_template(folder: Path, described: Mapping[str, Any]) -> str | None:
    path = folder / "chat_template.jinja"
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        pass
    except (OSError, UnicodeDecodeError) as error:
        raise CannotLoad(f"{path} cannot be read ({_first_line(error)})") from error
    template = described.get("chat_template")
    if isinstance(template, list):
        # Several by name, as some folders have them for tools or retrieval.
        named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
        template = named.get("default")
    return template if isinstance(template, str) else None


def _token_text(token: Any) -> str:
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else ""


def _ids(value: Any) -> list[int]:
    values = value if isinstance(value, list) else [value]
    return [entry for entry in values if isinstance(entry, int) and not isinstance(entry, bool)]


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300]
