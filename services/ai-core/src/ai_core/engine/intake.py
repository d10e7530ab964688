"""From a submitted request to a prompt of token ids, or a refusal that names the parameter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ai_core.engine.backends.adapter_port import Adapters, BadAdapter
from ai_core.engine.backends.port import Capabilities, Tokens, Vocabulary
from ai_core.engine.chat.prompt import encode_raw
from ai_core.engine.chat.reader import ChatPrompt, ChatReader, ChatRefused, characters_in
from ai_core.engine.chat.reply import ReplyForm
from ai_core.engine.chat.template import ChatTemplate, TemplateError
from ai_core.engine.constraints.bad_grammar import BadGrammar
from ai_core.engine.features import needed, parameter_of
from ai_core.engine.messages import Grammar, RefusalCode, Refused, Submit

FEWEST_TOKENS_PER_MESSAGE = 4
"""A template puts at least so many tokens around a message. llama.cpp's time to read a text grows with
the square of its control tokens, so conversations that cannot fit are refused without being read."""
LONGEST_TOKEN_BYTES = 32
"""A text of more bytes than this per token of the context is refused without being tokenized:
tokenizing megabytes would hold up everybody else's next token."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request that can be computed."""

    tokens: Tokens
    max_tokens: int
    reply: ReplyForm
    grammar: Grammar | None
    """What the answer has to look like: the request's own, or that of a call which must be made."""


class Intake:
    """Checks requests against one model. It holds no state of requests."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        template: ChatTemplate | None,
        capabilities: Capabilities,
        max_prompt_tokens: int = 0,
        adapters: Adapters | None = None,
    ) -> None:
        """``max_prompt_tokens`` 0: as long as the context allows. ``adapters``: those that come and go while
        the backend runs; None: they are what ``capabilities`` lists."""
        self.adapters = adapters
        self._max_prompt_tokens = max_prompt_tokens or capabilities.context_length
        self._vocabulary = vocabulary
        self._chats = None if template is None else ChatReader(template, vocabulary)
        self._capabilities = capabilities

    def read(self, request: Submit) -> Prompt | Refused:
        """The prompt in token ids, with ``max_tokens`` cut to what the context leaves."""
        parameter = "prompt" if request.messages is None else "messages"
        refused = self._refuse_options(request) or self._refuse_bytes(request, parameter)
        if refused is not None:
            return refused
        try:
            prompt = self._encode(request)
        except TemplateError as error:
            message = f"the model's chat template refuses this: {error}"
            return _refused(request, "template_error", parameter, message)
        except ChatRefused as refusal:
            return _refused(request, refusal.code, refusal.parameter, refusal.message)
        if prompt.grammar is not None and request.sampling.ignore_eos:
            message = "'ignore_eos' cannot be used with an answer whose end its grammar decides"
            return _refused(request, "invalid_parameter", "ignore_eos", message)
        return self._fit(request, parameter, prompt)

    def _encode(self, request: Submit) -> ChatPrompt:
        if request.messages is None:
            tokens = encode_raw(self._vocabulary, request.prompt or "")
            return ChatPrompt(tokens, ReplyForm(), request.grammar)
        if self._chats is None:
            raise TemplateError("this model has no chat template; use /api/v1/generate with a raw prompt")
        limit = self._capabilities.context_length
        return self._chats.read(request.messages, request.chat, request.grammar, limit)

    def _refuse_options(self, request: Submit) -> Refused | None:
        if request.inputs is not None:
            message = "this model generates text and makes no embeddings; name an embedding model"
            return _refused(request, "model_not_capable", "model", message)
        capabilities = self._capabilities
        lacking = next((feature for feature in needed(request) if feature in capabilities.missing), None)
        if lacking is not None:
            parameter = parameter_of(lacking, request)
            message = f"'{parameter}' cannot be used with this model: {capabilities.name} does not offer it"
            return _refused(request, "model_not_capable", parameter, message)
        if request.adapter and (refused := self._refuse_adapter(request)) is not None:
            return refused
        vocabulary = capabilities.vocabulary
        unknown = next((token for token in request.sampling.logit_bias if token >= vocabulary), None)
        if unknown is not None:
            message = f"token {unknown} is not in this model's vocabulary of {vocabulary} tokens"
            return _refused(request, "invalid_parameter", "logit_bias", message)
        return None

    def _refuse_adapter(self, request: Submit) -> Refused | None:
        """An adapter is loaded by the first request that names it."""
        names = self.adapters.names() if self.adapters else self._capabilities.adapters
        if request.adapter not in names:
            known = ", ".join(names) or "none"
            message = f"this model has no adapter '{request.adapter[:80]}'; it has: {known}"
            return _refused(request, "unknown_adapter", "adapter", message)
        try:
            if self.adapters is not None:
                self.adapters.prepare(request.adapter)
        except BadAdapter as error:
            return _refused(request, "unusable_adapter", "adapter", str(error))
        return None

    def _refuse_bytes(self, request: Submit, parameter: str) -> Refused | None:
        messages = request.messages
        if len(messages or []) > self._capabilities.context_length // FEWEST_TOKENS_PER_MESSAGE:
            message = "so many messages cannot fit in this model's context; leave out the oldest"
            return _refused(request, "context_length_exceeded", parameter, message)
        characters = len(request.prompt or "") + characters_in(messages or [], request.chat)
        most = self._capabilities.context_length * LONGEST_TOKEN_BYTES
        if characters <= most:
            return None
        return _refused(
            request,
            "context_length_exceeded",
            parameter,
            f"{characters} characters cannot fit in this model's context of "
            f"{self._capabilities.context_length} tokens; shorten the prompt",
        )

    def _fit(self, request: Submit, parameter: str, prompt: ChatPrompt) -> Prompt | Refused:
        length, tokens = self._capabilities.context_length, prompt.tokens
        if not tokens:
            message = "the prompt is empty; send at least one character"
            return _refused(request, "invalid_prompt", parameter, message)
        if len(tokens) >= length:
            return _refused(
                request,
                "context_length_exceeded",
                parameter,
                f"the prompt has at least {len(tokens)} tokens, and this model's context holds {length} "
                "with the answer; shorten the prompt",
            )
        if len(tokens) > self._max_prompt_tokens:
            message = f"the prompt has at least {len(tokens)} tokens; this server takes prompts of up to "
            message += f"{self._max_prompt_tokens}, so shorten it"
            return _refused(request, "context_length_exceeded", parameter, message)
        return Prompt(
            np.asarray(tokens, dtype=np.int32),
            min(request.max_tokens, length - len(tokens)),
            prompt.reply,
            prompt.grammar,
        )


def grammar_refused(request: Submit, reason: BadGrammar) -> Refused:
    """What the caller is told about a schema or a grammar of theirs."""
    grammar = request.grammar
    if grammar is None:
        message = f"calls cannot be made to keep to the parameters of these tools: {reason}"
        return _refused(request, "invalid_json_schema", "tools", message)
    if grammar.kind == "gbnf":
        return _refused(request, "invalid_grammar", "grammar", f"the grammar cannot be used: {reason}")
    return _refused(
        request, "invalid_json_schema", "response_format", f"the JSON schema cannot be used: {reason}"
    )


def _refused(request: Submit, code: RefusalCode, parameter: str, message: str) -> Refused:
    return Refused(id=request.id, code=code, parameter=parameter, message=message)
