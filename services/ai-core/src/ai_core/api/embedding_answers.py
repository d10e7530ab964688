"""OpenAI's list of embeddings: https://platform.openai.com/docs/api-reference/embeddings/object"""

from __future__ import annotations

import asyncio
import sys
from array import array
from base64 import b64encode

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ai_core.api.answer_format import encode
from ai_core.api.answering import send_json
from ai_core.api.event_stream import EventStream
from ai_core.api.exchange import STATUS_CLIENT_LEFT, Exchange, exchange_of
from ai_core.api.for_caller import for_caller
from ai_core.api.presence import ClientLeft, while_client_stays
from ai_core.inference.embeddings import EmbeddingRequest, Embeddings
from ai_core.inference.service import Inference

_VECTORS_IN_ONE_GO = 64
"""So many are written as text before others get their turn: about 10 ms at 1,024 dimensions."""


class EmbeddingsResponse(Response):
    """Asks for the vectors when it is sent, for as long as the caller is there."""

    def __init__(self, inference: Inference, request: EmbeddingRequest, *, as_base64: bool) -> None:
        self._inference = inference
        self._request = request
        self._as_base64 = as_base64
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(scope)
        try:
            async with while_client_stays(receive, EventStream(send, exchange)):
                await self._answer(exchange, send)
        except ClientLeft:
            exchange.status = STATUS_CLIENT_LEFT

    async def _answer(self, exchange: Exchange, send: Send) -> None:
        request = for_caller(self._request, exchange.known_caller, self._inference.catalog, exchange.timeout)
        embeddings = await self._inference.embed(request)
        exchange.standing.tokens = embeddings.tokens_left
        exchange.facts |= {
            "model": embeddings.model,
            "inputs": len(embeddings.vectors),
            "prompt_tokens": embeddings.prompt_tokens,
        }
        await send_json(send, await whole(embeddings, as_base64=self._as_base64))


async def whole(embeddings: Embeddings, *, as_base64: bool) -> bytes:
    """The body of the answer. Base64 holds 32-bit floats, little-endian."""
    written = []
    for index, vector in enumerate(embeddings.vectors):
        if index and index % _VECTORS_IN_ONE_GO == 0:
            await asyncio.sleep(0)
        numbers = _base64(vector) if as_base64 else vector.tolist()
        written.append(encode({"object": "embedding", "index": index, "embedding": numbers}))
    usage = {"prompt_tokens": embeddings.prompt_tokens, "total_tokens": embeddings.prompt_tokens}
    rest = encode({"model": embeddings.model, "usage": usage})
    return b'{"object":"list","data":[' + b",".join(written) + b"]," + rest[1:]


def _base64(vector: memoryview[float]) -> str:
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return b64encode(numbers).decode("ascii")
