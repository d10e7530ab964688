"""Log probabilities in OpenAI's two forms."""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from typing import Any

from ai_core.engine.messages import Alternative, TokenLogprob


def chat_logprobs(entries: Iterable[TokenLogprob]) -> dict[str, Any]:
    """As in https://platform.openai.com/docs/api-reference/chat/object (``choices.logprobs``)."""
    content = [
        _chat_entry(entry) | {"top_logprobs": [_chat_entry(other) for other in entry.top]}
        for entry in entries
    ]
    return {"content": content, "refusal": None}


def _chat_entry(token: Alternative) -> dict[str, Any]:
    return {
        "token": _text(token.token, ""),
        "logprob": token.logprob,
        # A control token stands for no text, so it has no bytes.
        "bytes": None if token.control else list(token.token),
    }


class CompletionLogprobs:
    """As in https://platform.openai.com/docs/api-reference/completions/object, for one choice.

    ``text_offset`` counts characters from the beginning of the answer's text.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._offset = 0

    def add(self, entries: Iterable[TokenLogprob]) -> dict[str, Any]:
        """The next tokens of the answer."""
        tokens: list[str] = []
        logprobs: list[float] = []
        likely: list[dict[str, float]] = []
        offsets: list[int] = []
        for entry in entries:
            tokens.append(_text(entry.token, "bytes:"))
            logprobs.append(entry.logprob)
            likely.append({_text(one.token, "bytes:"): one.logprob for one in (*entry.top, entry)})
            offsets.append(self._offset)
            if not entry.control:
                self._offset += len(self._decoder.decode(entry.token))
        return {"tokens": tokens, "token_logprobs": logprobs, "top_logprobs": likely, "text_offset": offsets}


def _text(token: bytes, mark: str) -> str:
    r"""The text of a token; of one that ends inside a character its bytes, as OpenAI writes them:
    ``\xf0\x9f``, in the older form with ``bytes:`` before it."""
    try:
        return token.decode()
    except UnicodeDecodeError:
        return mark + "".join(f"\\x{byte:02x}" for byte in token)
