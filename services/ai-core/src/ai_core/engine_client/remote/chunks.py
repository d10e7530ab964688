"""A streamed answer of OpenAI's, chunk by chunk, as our deltas. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ai_core.engine.messages import CallPiece, Delta, Finished, FinishReason, TokenLogprob
from ai_core.engine_client.remote.logprobs import entries_of
from ai_core.engine_client.remote.wire import Nonsense, count_in, list_in, parsed, text_in

DONE = "[DONE]"
MAX_CALLS = 128
_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class BrokeOff(Exception):
    """The server says that it cannot go on. ``event`` is its error, which may be anything."""

    def __init__(self, event: Any = None) -> None:
        super().__init__("the server ended the answer with an error")
        self.event = event


@dataclass(frozen=True, slots=True)
class _Call:
    """A call of a function. ``number``: how many were begun before; ``id`` is the server's."""

    number: int
    id: str


class ChunkReader:
    """One answer. Feed the data of its events in order; ``done`` says when it is whole.

    Tokens are counted by the server at the end; until then, and where it never does, each chunk with text
    counts as one (those with log probabilities as many as they have).
    """

    def __init__(self, *, prompt_tokens: int, chat: bool) -> None:
        """``prompt_tokens``: an estimate, until the server counts. ``chat``: else a raw prompt goes on."""
        self.done = False
        self._chat = chat
        self._reason: FinishReason | None = None
        self._prompt_tokens = prompt_tokens
        self._completion_tokens = 0
        self._cached_tokens = 0
        self._reasoning_tokens = 0
        self._seen_tokens = 0
        self._seen_thoughts = 0
        self._calls: dict[int, _Call] = {}
        self._begun = 0

    def feed(self, data: str) -> Delta | None:
        """What an event adds, if anything. Raises BrokeOff, Nonsense."""
        if data.strip() == DONE:
            self.done = True
            return None
        chunk = parsed(data, "an event")
        if chunk.get("error"):
            raise BrokeOff(chunk["error"])
        self._note_usage(chunk.get("usage"))
        choices = chunk.get("choices")
        if not isinstance(choices, list):
            # Comments of gateways, and chunks of usage alone, come in many shapes.
            return None
        choice = choices[0] if choices else None
        if choice is None:
            return None
        if not isinstance(choice, dict):
            raise Nonsense("a choice is no object")
        return self._delta(choice)

    def at_end(self) -> None:
        """The stream is over. Raises BrokeOff where the answer is not."""
        if not self.done and self._reason is None:
            raise BrokeOff

    def finished(self, *, queue_seconds: float) -> Finished:
        """The end. ``queue_seconds``: until the first token; what of it was waiting is not known here."""
        return Finished(
            0,
            self._reason or "stop",
            "",
            self._prompt_tokens,
            self._completion_tokens or self._seen_tokens,
            self._cached_tokens,
            queue_seconds,
            0.0,
            reasoning_tokens=self._reasoning_tokens or self._seen_thoughts,
        )

    def _delta(self, choice: dict[str, Any]) -> Delta | None:
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and reason:
            if reason in {"error", "abort"}:
                raise BrokeOff
            self._reason = _REASONS.get(reason, "stop")
        if not self._chat:
            return self._counted(text_in(choice, "text"), "", [], [])
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            return None
        # vLLM and Ollama say `reasoning`, DeepSeek and llama-server `reasoning_content`; some say both.
        thoughts = text_in(delta, "reasoning_content") or text_in(delta, "reasoning")
        return self._counted(text_in(delta, "content"), thoughts, self._pieces(delta), entries_of(choice))

    def _counted(
        self, text: str, thoughts: str, calls: list[CallPiece], logprobs: list[TokenLogprob]
    ) -> Delta | None:
        if not (text or thoughts or calls or logprobs):
            return None
        tokens = len(logprobs) if logprobs else 1
        self._seen_tokens += tokens
        if thoughts and not text:
            self._seen_thoughts += tokens
        return Delta(0, text, tokens, logprobs or None, thoughts, calls)

    def _pieces(self, delta: dict[str, Any]) -> list[CallPiece]:
        return [self._piece(call, number) for number, call in enumerate(list_in(delta, "tool_calls"))]

    def _piece(self, call: Any, number: int) -> CallPiece:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            raise Nonsense("a call of a function is no object")
        index = call.get("index", number)
        if not isinstance(index, int):
            raise Nonsense("the index of a call is no number")
        name, arguments = text_in(function, "name"), text_in(function, "arguments")
        call_id = text_in(call, "id")
        # Ollama once gave several calls in one answer the same index.
        known = self._calls.get(index)
        if known is not None and call_id in ("", known.id):
            return CallPiece(known.number, "", arguments)
        if not name or self._begun >= MAX_CALLS:
            raise Nonsense("a call begins without a name, or there are too many")
        self._calls[index] = _Call(self._begun, call_id)
        self._begun += 1
        return CallPiece(self._calls[index].number, name, arguments)

    def _note_usage(self, usage: Any) -> None:
        """The last one counts: some servers count along."""
        if not isinstance(usage, dict):
            return
        self._prompt_tokens = count_in(usage, "prompt_tokens") or self._prompt_tokens
        self._completion_tokens = count_in(usage, "completion_tokens") or self._completion_tokens
        self._cached_tokens = count_in(usage.get("prompt_tokens_details"), "cached_tokens")
        self._reasoning_tokens = count_in(usage.get("completion_tokens_details"), "reasoning_tokens")
