"""The port behind which an inference library computes tokens.

A backend takes token ids, never text, and is driven by one thread: the host calls ``step`` as
long as there is work. A backend may schedule its sequences itself (llama.cpp here, OpenVINO
GenAI with its own scheduler); what every backend needs, the order of waiting requests and the
coalescing of common prefixes, stands above this port, in ``engine.order`` and
``engine.coalescing``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from ai_core.engine.messages import Sampling
from ai_core.engine.tokens import Tokens

__all__ = [
    "Backend",
    "BackendStats",
    "Capabilities",
    "Chances",
    "Constraint",
    "ConstraintFailed",
    "Restful",
    "Sequence",
    "StepResult",
    "Tokens",
    "Vocabulary",
]


Feature = Literal[
    "grammar", "logprobs", "logit_bias", "repeat_penalty", "min_p", "seed", "ignore_eos", "adapter"
]
"""What not every backend can do. A request that needs a missing one is refused before it is queued."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a backend can do. Asked once, after loading."""

    name: str
    prefix: Literal["any", "snapshot", "none"]
    """``any``: a prefix of any length can be shared; ``snapshot``: only states saved at message
    borders; ``none``: every prompt is computed in full."""
    reports_prefix: bool
    """Whether ``StepResult.prefix_ready`` tells how far a prompt has come."""
    context_length: int
    """Most tokens in one sequence, prompt and answer together."""
    max_sequences: int
    kv_cells: int
    vocabulary: int
    missing: frozenset[Feature] = frozenset()
    adapters: tuple[str, ...] = ()
    """LoRA adapters that sequences may name."""


class ConstraintFailed(Exception):
    """A sequence's grammar became too expensive to follow; the text says why."""


class Constraint(Protocol):
    """A grammar, and where one sequence stands in it. It lives as long as the sequence, whatever the
    backend does with the sequence's cache.

    Every method raises :class:`ConstraintFailed`.
    """

    def take(self, token: int) -> bool:
        """Go on by this token if the grammar allows it; False: it does not, and nothing changed."""

    def allowed(self) -> Tokens | None:
        """All tokens that may come next, end tokens among them where the text may end, in ascending
        order; None: finding them all would take too long."""

    def among(self, tokens: Tokens, most: int) -> Tokens:
        """Of the given tokens, the first ``most`` that may come next, in the given order."""

    @property
    def complete(self) -> bool:
        """Nothing but an end token may follow."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """One prompt to be continued."""

    id: int
    prompt: Tokens
    sampling: Sampling
    max_tokens: int
    priority: int = 0
    namespace: str = ""
    adapter: str = ""
    """One of ``Capabilities.adapters``, or empty: the model as it is."""
    constraint: Constraint | None = None
    chances: int | None = None
    """How many likely tokens ``StepResult.chances`` has for each token; None: no chances."""


@dataclass(frozen=True, slots=True)
class Chances:
    """How likely a generated token was by the raw logits, as natural logarithms; and the likeliest
    tokens in its place, likeliest first."""

    logprob: float
    top: list[tuple[int, float]]


@dataclass(slots=True)
class StepResult:
    """What one step brought."""

    tokens: list[tuple[int, int]] = field(default_factory=list)
    """(sequence id, token), at most one per sequence and step, end-of-generation tokens left out."""
    finished: list[tuple[int, Literal["stop", "length"]]] = field(default_factory=list)
    chances: dict[int, Chances] = field(default_factory=dict)
    """By sequence id: of the tokens of those sequences that ask for it."""
    failed: list[tuple[int, str]] = field(default_factory=list)
    """(sequence id, reason): this sequence alone cannot go on."""
    lost_grammar: list[tuple[int, str]] = field(default_factory=list)
    """(sequence id, reason): its grammar cannot be followed any further."""
    prefix_ready: list[tuple[int, int]] = field(default_factory=list)
    """(sequence id, n): the first n prompt tokens of this sequence can be shared from now on."""
    reused: list[tuple[int, int]] = field(default_factory=list)
    """(sequence id, n): n prompt tokens were held already. For backends that know only now how many, and
    could but estimate when the sequence was submitted."""


@dataclass(frozen=True, slots=True)
class BackendStats:
    """A snapshot; counters count from the start."""

    running: int = 0
    paused: int = 0
    free_sequences: int = 0
    """How many further sequences ``submit`` takes at this moment."""
    kv_cells_used: int = 0
    kv_cells_cached: int = 0
    pauses: int = 0
    evictions: int = 0


class Backend(Protocol):
    """Computes tokens for many sequences at once. Not thread-safe: one thread drives it."""

    def capabilities(self) -> Capabilities:
        """Constant after loading."""

    def count(self, prompt: Tokens, namespace: str) -> int:
        """How many leading tokens of this prompt are held already and would not be computed again."""

    def submit(self, sequence: Sequence) -> int:
        """Take a sequence; returns the number of prompt tokens that are not computed again.

        The caller keeps ``len(prompt) < context_length`` and submits only while
        ``stats().free_sequences > 0``.
        """

    def prioritise(self, sequence_id: int, priority: int) -> None:
        """Raise a sequence's priority: someone more urgent waits for its prefix."""

    def cancel(self, sequence_id: int) -> None:
        """Drop a sequence before the next step. Unknown ids are ignored."""

    def step(self) -> StepResult:
        """Compute once for all sequences.

        Raises:
            Exception: the backend as a whole is broken; the host lets the process end.
        """

    def set_threads(self, decode: int, batch: int) -> None:
        """Threads for decode and prefill, from the next step on."""

    def stats(self) -> BackendStats:
        """Cheap enough to be called every step."""

    def close(self) -> None:
        """Give everything back."""


@runtime_checkable
class Restful(Protocol):
    """A backend that can give back what it holds for sequences while there are none."""

    def rest(self) -> None:
        """Give the memory of keys and values back; cached prefixes are forgotten. Called without any
        sequence; ``submit`` takes the memory again."""


class Vocabulary(Protocol):
    """Text to token ids and back, for one model."""

    def encode(self, text: str, *, add_bos: bool, parse_special: bool) -> list[int]:
        """Token ids of a text. With ``parse_special``, the texts of control tokens become these tokens."""

    def piece(self, token: int) -> bytes:
        """The bytes that a token stands for; empty for control tokens. May end inside a UTF-8 character."""

    def shown(self, token: int) -> bytes:
        """As :meth:`piece`, but of a control token the text that stands for it in templates."""

    @property
    def end_tokens(self) -> frozenset[int]:
        """Tokens that end an answer."""

    @property
    def control_texts(self) -> frozenset[str]:
        """Texts that ``parse_special`` would turn into control tokens, e.g. ``<|im_end|>``."""

    @property
    def bos_text(self) -> str:
        """The text of the token that begins a sequence, or empty."""

    @property
    def eos_text(self) -> str:
        """The text of the token that ends a sequence, or empty."""

    @property
    def chat_template(self) -> str | None:
        """The model's own chat template (Jinja), if it has one."""
