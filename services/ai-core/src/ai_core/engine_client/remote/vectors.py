"""OpenAI's embeddings as ours. Pure."""

from __future__ import annotations

import math
from array import array
from typing import Any

from ai_core.engine.messages import Finished
from ai_core.engine_client.remote.wire import Nonsense, count_in, list_in, parsed


def finished_of(content: bytes, count: int, estimated_tokens: int) -> Finished:
    """The vectors of ``count`` inputs, each brought to length 1. Raises Nonsense."""
    answer = parsed(content, "the answer")
    data = list_in(answer, "data")
    if len(data) != count:
        raise Nonsense(f"there are not {count} vectors")
    vectors = [_vector(one) for one in sorted(data, key=_index)]
    if len({len(vector) for vector in vectors}) != 1:
        raise Nonsense("vectors are of unlike length")
    tokens = count_in(answer.get("usage"), "prompt_tokens") or estimated_tokens
    flat = b"".join(vector.tobytes() for vector in vectors)
    return Finished(0, "stop", "", tokens, 0, 0, 0.0, 0.0, vectors=flat)


def _index(one: Any) -> int:
    index = one.get("index") if isinstance(one, dict) else None
    if not isinstance(index, int):
        raise Nonsense("a vector has no index")
    return index


def _vector(one: Any) -> array[float]:
    numbers = one.get("embedding")
    if not isinstance(numbers, list) or not numbers:
        raise Nonsense("an embedding is no list")
    try:
        length = math.hypot(*numbers)
    except (TypeError, OverflowError) as error:
        raise Nonsense("an embedding holds something that is no number") from error
    if not math.isfinite(length) or not length:
        raise Nonsense("a vector has no direction")
    return array("f", [number / length for number in numbers])
