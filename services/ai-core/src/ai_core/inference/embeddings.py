"""Texts in, vectors out: what goes into such a request and what comes of it, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

from ai_core.access.caller import NO_LIMITS, KeyLimits
from ai_core.access.limits.ledger import Allowance
from ai_core.engine.messages import Finished, Sampling, Submit
from ai_core.errors import GenerationFailed
from ai_core.inference.requests import Origin
from ai_core.inference.sources import SourcedAnswer

_FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingRequest:
    """What a caller wants: one vector per input, each a text or token ids; at least one input."""

    model: str | None
    inputs: list[str | list[int]]
    dimensions: int | None = None
    """None: as many as the model's vectors have."""
    user: str = ""
    """Whom this is for, as the caller calls them."""
    fairness_key: str = ""
    """Waiting requests of one priority take turns by it."""
    priority: int = 0
    """Higher goes first."""
    key_id: str = ""
    """Of the caller's API key."""
    limits: KeyLimits = NO_LIMITS
    """Of that key."""
    timeout: float | None = None
    """Seconds that it may wait before its turn; None: as long as requests wait here."""
    keep_alive: float | None = None
    """Seconds that the model stays in memory after this answer; negative: for ever; None: as before."""


@dataclass(frozen=True, slots=True)
class Embeddings:
    """``vectors``: 32-bit floats in this machine's order, one vector of length 1 per input, in order."""

    model: str
    vectors: list[memoryview[float]]
    prompt_tokens: int
    origin: Origin
    tokens_left: Allowance | None = None
    """How the key stands at its limit of tokens per minute, if it has one."""


def to_submit(request: EmbeddingRequest, timeout: float) -> Submit:
    """The engine's form of a request; ``timeout`` bounds the wait, in seconds."""
    return Submit(
        id=0,
        inputs=request.inputs,
        dimensions=request.dimensions,
        # Nothing is left to chance: the same texts have the same vectors, which may be kept.
        sampling=Sampling(temperature=0),
        priority=request.priority,
        fairness_key=request.fairness_key,
        timeout=timeout,
    )


async def collect(answer: SourcedAnswer, model: str, count: int) -> Embeddings:
    """The vectors of ``count`` inputs. Raises NeoError where the engine did not get to the end."""
    async for event in answer:
        if isinstance(event, Finished) and event.reason != "cancelled":
            return Embeddings(model, _cut(event.vectors, count), answer.prompt_tokens, answer.origin)
    raise GenerationFailed("The embeddings were not computed to the end. Try again.", code="cancelled")


def _cut(vectors: bytes, count: int) -> list[memoryview[float]]:
    whole = memoryview(vectors).cast("f")
    length = len(vectors) // (_FLOAT_BYTES * count)
    return [whole[start : start + length] for start in range(0, length * count, length)]
