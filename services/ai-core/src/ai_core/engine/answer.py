"""One answer in the making: tokens become text, thoughts and calls, with their log probabilities."""

from __future__ import annotations

from collections.abc import Sequence

from ai_core.engine.backends.port import Chances, Vocabulary
from ai_core.engine.chat.reply import Reply, ReplyForm, Said
from ai_core.engine.messages import Alternative, Delta, TokenLogprob
from ai_core.engine.probabilities import Probabilities
from ai_core.engine.text import TextAssembler


class Answer:
    """What one request says.

    Args:
        form: what the answer may consist of beside text.
        stop: strings that end its text.
        vocabulary: turns tokens into bytes.
        with_logprobs: whether log probabilities go out with the text.
    """

    def __init__(
        self, form: ReplyForm, stop: Sequence[str], vocabulary: Vocabulary, *, with_logprobs: bool
    ) -> None:
        self._vocabulary = vocabulary
        self._text = TextAssembler(stop)
        self._reply = None if form.plain else Reply(form, stop)
        self._probabilities = Probabilities() if with_logprobs else None

    @property
    def stopped(self) -> bool:
        """Nothing that may follow is a part of the answer."""
        return (self._reply or self._text).stopped

    @property
    def has_calls(self) -> bool:
        """At least one call was announced."""
        return self._reply is not None and self._reply.has_calls

    @property
    def reasoning_tokens(self) -> int:
        """How many of the tokens were thoughts."""
        return 0 if self._reply is None else self._reply.reasoning_tokens

    def push(self, request_id: int, token: int, chances: Chances | None) -> Delta:
        """Add a token; ``chances`` are there if the request asks for log probabilities."""
        piece = self._vocabulary.piece(token)
        if self._reply is None:
            text = self._text.push(piece)
            return Delta(request_id, text, 1, self._logprobs(token, piece, chances, text))
        thoughts = self._reply.reasoning_tokens
        said = self._reply.push(token, piece)
        logprobs = None
        if self._probabilities is not None:
            # Entries belong to text: thoughts and calls have none.
            about_text = self._reply.reasoning_tokens == thoughts and not said.calls
            logprobs = self._logprobs(token, piece, chances, said.text) if about_text else []
        return Delta(request_id, said.text, 1, logprobs, reasoning=said.reasoning, calls=list(said.calls))

    def finish(self) -> tuple[Said, list[TokenLogprob] | None]:
        """The answer is over: what was held back and belongs to it."""
        logprobs = None
        if self._probabilities is not None:
            logprobs = self._probabilities.finish(stopped=self.stopped)
        if self.stopped:
            return Said(), logprobs
        return (Said(self._text.finish()) if self._reply is None else self._reply.finish()), logprobs

    def _logprobs(
        self, token: int, piece: bytes, chances: Chances | None, shown: str
    ) -> list[TokenLogprob] | None:
        if self._probabilities is None or chances is None:
            return None
        top = [self._alternative(other, logprob) for other, logprob in chances.top]
        this = self._alternative(token, chances.logprob)
        entry = TokenLogprob(this.token, this.logprob, this.control, top)
        return self._probabilities.push(piece, entry, shown)

    def _alternative(self, token: int, logprob: float) -> Alternative:
        piece = self._vocabulary.piece(token)
        return Alternative(piece or self._vocabulary.shown(token), logprob, not piece)
