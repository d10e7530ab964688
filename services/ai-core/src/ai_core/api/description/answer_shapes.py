"""The shape of what the routes that work with models answer.

A field with a default may be left out; one that may be null says so.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

AnswerEnd = Literal["stop", "length", "tool_calls", "content_filter"]


class Shape(BaseModel):
    """Base of all that is sent: no further fields."""

    model_config = ConfigDict(extra="forbid")


class ErrorDetails(Shape):
    """What went wrong, and what to do."""

    message: str
    type: Literal["invalid_request_error", "rate_limit_error", "server_error"]
    param: str | None
    code: str


class ErrorBody(Shape):
    """The body of every error."""

    error: ErrorDetails


class NativeUsage(Shape):
    """Tokens of one answer."""

    prompt_tokens: int
    completion_tokens: int
    cached_prompt_tokens: int
    reasoning_tokens: int = 0


class NativeAnswer(Shape):
    """One answer."""

    response: str
    model: str
    tokens_used: int
    processing_time: float
    timestamp: str
    finish_reason: AnswerEnd
    cached: bool
    usage: NativeUsage
    reasoning: str | None = None
    suggested_subject: str = ""
    thread_id: str | None = None
    session_id: str = ""


class SessionLine(Shape):
    """One conversation that the server keeps."""

    session_id: str
    created_at: str
    updated_at: str
    turns: int


class SessionList(Shape):
    """The conversations of a key, the newest first."""

    sessions: list[SessionLine]


class SessionCall(Shape):
    """A call in a conversation."""

    id: str
    name: str
    arguments: str


class SessionMessage(Shape):
    """One message of a conversation."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: list[SessionCall] = []
    tool_call_id: str = ""
    name: str = ""


class Session(SessionLine):
    """A conversation with what was said."""

    expires_at: str
    dropped_turns: int
    messages: list[SessionMessage]


class BatchCounts(Shape):
    """Requests of a batch, by what became of them."""

    total: int
    completed: int
    failed: int
    cancelled: int
    running: int
    waiting: int


class Batch(Shape):
    """A batch and its progress."""

    id: str
    status: Literal["in_progress", "completed", "cancelled", "stopped"]
    request_counts: BatchCounts
    progress: float
    created_at: str
    started_at: str | None
    finished_at: str | None
    expires_at: str | None


class BatchList(Shape):
    """The batches of a key."""

    batches: list[Batch]


class BatchDeleted(Shape):
    """The batch is gone."""

    id: str
    deleted: Literal[True]


class CachedTokens(Shape):
    """Of the prompt's tokens."""

    cached_tokens: int


class ReasoningTokens(Shape):
    """Of the answer's tokens."""

    reasoning_tokens: int


class OpenAIUsage(Shape):
    """Tokens of one answer, in OpenAI's form."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens
    completion_tokens_details: ReasoningTokens = ReasoningTokens(reasoning_tokens=0)


class FunctionCalled(Shape):
    """A function with its arguments."""

    name: str
    arguments: str


class ToolCallMade(Shape):
    """A call that the model wants made."""

    id: str
    type: Literal["function"]
    function: FunctionCalled


class AnswerMessage(Shape):
    """What the model says."""

    role: Literal["assistant"]
    content: str | None
    refusal: None
    reasoning_content: str | None = None
    tool_calls: list[ToolCallMade] = []


class LikelyToken(Shape):
    """A token that was likely at some place."""

    token: str
    logprob: float
    bytes: list[int] | None


class ChosenToken(LikelyToken):
    """The token that was taken, and what else was likely."""

    top_logprobs: list[LikelyToken]


class ChatLogprobs(Shape):
    """One entry per token of the answer."""

    content: list[ChosenToken]
    refusal: None


class ChatChoice(Shape):
    """One of the answers."""

    index: int
    message: AnswerMessage
    logprobs: ChatLogprobs | None
    finish_reason: AnswerEnd


class ChatCompletion(Shape):
    """OpenAI's object: https://platform.openai.com/docs/api-reference/chat/object"""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: OpenAIUsage


class CompletionLogprobs(Shape):
    """Lists with one entry per token of the answer."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class CompletionChoice(Shape):
    """One of the answers."""

    text: str
    index: int
    logprobs: CompletionLogprobs | None
    finish_reason: AnswerEnd


class TextCompletion(Shape):
    """OpenAI's object: https://platform.openai.com/docs/api-reference/completions/object"""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: OpenAIUsage


class Embedding(Shape):
    """The vector of one input; its length is 1."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(Shape):
    """Tokens that were read."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(Shape):
    """One vector per input, in order."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


class OpenAIModel(Shape):
    """A model, or one of its aliases."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class OpenAIModelList(Shape):
    """All models that the key may use."""

    object: Literal["list"]
    data: list[OpenAIModel]


class Transcription(BaseModel):
    """What was said. Further fields are those of the server that listened."""

    model_config = ConfigDict(extra="allow")

    text: str
