"""What the API process says."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ai_core.engine.messages.base import Message
from ai_core.engine.messages.configuration import AdapterFile


class Tool(msgspec.Struct, frozen=True):
    """A function that the model may call."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = {}
    """A JSON schema of an object; empty: the function takes nothing."""
    strict: bool = False
    """Arguments must keep to ``parameters``, also where the model decides by itself to call."""


class ToolCall(msgspec.Struct, frozen=True):
    """A call of a function. ``arguments`` is what the model wrote: JSON, if it did well."""

    id: str
    name: str
    arguments: str


class ChatMessage(msgspec.Struct, frozen=True):
    """One turn of a conversation, as the chat template sees it. The fields after ``content`` are for
    assistants that called functions or thought aloud, and for the functions' results (role ``tool``)."""

    role: str
    content: str
    tool_calls: list[ToolCall] = []
    tool_call_id: str = ""
    name: str = ""
    """Of a result: the function's name."""
    reasoning: str = ""


class ChatOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What goes into a chat template beside the messages, and how calls of functions are asked for."""

    tools: list[Tool] = []
    tool_choice: Literal["auto", "required"] = "auto"
    forced_tool: str = ""
    """The name of the one function that must be called."""
    parallel_tool_calls: bool = True
    """False: an answer ends with its first call."""
    reasoning_effort: str = ""
    """``none`` switches thinking off; other words are for templates that know them."""
    template_options: dict[str, bool | int | float | str] = {}
    """Variables of the template, e.g. ``enable_thinking``; one that it does not read is refused."""


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """How the next token is chosen. Ranges are checked by the API before they come here.

    ``temperature`` 0 is greedy. ``top_k`` 0 and ``top_p`` 1 switch these filters off; a request with
    ``top_p`` < 1 and no ``top_k`` is cut to the 1,000 likeliest tokens first, because sorting a whole
    vocabulary per token and sequence costs up to 11 ms. Penalties look at the generated tokens,
    as OpenAI's do (``repeat_penalty`` at the last 64 of them).
    """

    temperature: float = 0.7
    top_p: float = 0.9
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repeat_penalty: float = 1.0
    seed: int | None = None
    logit_bias: dict[int, float] = {}
    ignore_eos: bool = False


class Grammar(msgspec.Struct, frozen=True):
    """What an answer has to look like; the engine compiles it before it accepts the request."""

    kind: Literal["json_object", "json_schema", "gbnf", "calls"]
    """``calls``: text, and calls of functions whose arguments keep to schemas; made by the engine itself."""
    text: str = ""
    """The schema as JSON text, or the grammar; empty for ``json_object``."""


class Submit(Message, frozen=True, kw_only=True, tag="submit"):
    """A request. Exactly one of ``messages`` (the chat template applies), ``prompt`` (raw text) and
    ``inputs`` (texts or token ids to be embedded)."""

    id: int
    messages: list[ChatMessage] | None = None
    prompt: str | None = None
    inputs: list[str | list[int]] | None = None
    dimensions: int | None = None
    """Length of the vectors for ``inputs``; None: the model's own."""
    sampling: Sampling = Sampling()
    max_tokens: int = 512
    stop: list[str] = msgspec.field(default_factory=list)
    """Looked for in the text only, not in reasoning and calls."""
    chat: ChatOptions = ChatOptions()
    grammar: Grammar | None = None
    logprobs: int | None = None
    """How many of the likeliest tokens are reported beside each generated one (0: only that one);
    None: no probabilities at all."""
    priority: int = 0
    """Higher goes first. 0 is the default class."""
    fairness_key: str = ""
    """Waiting requests of equal priority take turns by this key (an API key, a pseudonym)."""
    timeout: float | None = None
    """Seconds from arrival in the engine until a request that is still waiting fails."""
    adapter: str = ""
    """The LoRA adapter to answer with; empty: none."""
    namespace: str = ""
    """Cached prefixes are shared only within a namespace; different adapters never share one."""
    alone: bool = False
    """Run with nothing else in the batch: set when a request is suspected of killing the engine."""


class Cancel(Message, frozen=True, tag="cancel"):
    """The caller left. Unknown or finished ids are ignored."""

    id: int


class SetThreads(Message, frozen=True, tag="set_threads"):
    """Threads for decode and prefill, applied between two steps."""

    decode: int
    batch: int


class LoadAdapter(Message, frozen=True, tag="load_adapter"):
    """Make a LoRA adapter known, and load it. Answered by :class:`AdapterReply` with the same id."""

    id: int
    adapter: AdapterFile


class UnloadAdapter(Message, frozen=True, tag="unload_adapter"):
    """Forget a LoRA adapter that no request uses. Answered by :class:`AdapterReply` with the same id."""

    id: int
    name: str


class Rest(Message, frozen=True, tag="rest"):
    """Give back the memory of keys and values, and keep the weights, if nobody is being answered. Answered by
    :class:`Rested`. The next request takes the memory again, by itself."""


class Shutdown(Message, frozen=True, tag="shutdown"):
    """End the process now; what is running is lost."""


ToEngine = Submit | Cancel | SetThreads | LoadAdapter | UnloadAdapter | Rest | Shutdown
