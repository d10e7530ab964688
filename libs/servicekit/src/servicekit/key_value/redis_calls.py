"""Calls of Lua scripts that go to Redis together: those that come while others are on their way wait for
them, and leave as one. A burst of a thousand costs a few exchanges instead of a thousand connections."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any

from redis.exceptions import NoScriptError

from servicekit.key_value.redis_connection import RedisAway, RedisConnection

TOGETHER = 100
"""Calls in one exchange: its answers must be read within the time-out."""

Argument = str | bytes | int


@dataclass(frozen=True, slots=True)
class _Call:
    """``script`` is its number."""

    script: int
    keys: list[str]
    arguments: list[Argument]
    answer: asyncio.Future[Any]


class RedisScripts:
    """Some scripts, known by their numbers. Belongs to one event loop."""

    def __init__(self, redis: RedisConnection, sources: list[str]) -> None:
        self._redis = redis
        self._scripts = [redis.client.register_script(source) for source in sources]
        self._waiting: deque[_Call] = deque()
        self._sending: asyncio.Task[None] | None = None

    async def call(self, script: int, keys: list[str], arguments: list[Argument]) -> Any:
        """What the script gives. Raises StoreUnavailable; the script may have run all the same."""
        if self._redis.breaker.open:
            raise self._redis.breaker.refusal()
        call = _Call(script, keys, arguments, asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())
        return await call.answer

    async def close(self) -> None:
        """Break off what is on its way."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.wait({self._sending})
        # Those that came before it had its first turn.
        for call in self._waiting:
            call.answer.cancel()

    async def _send(self) -> None:
        calls: list[_Call] = []
        try:
            while self._waiting:
                calls = [self._waiting.popleft() for _ in range(min(TOGETHER, len(self._waiting)))]
                await self._exchange(calls)
        except RedisAway:
            for call in (*calls, *self._waiting):
                self._fail(call)
            self._waiting.clear()
        finally:
            self._sending = None
            for call in (*calls, *self._waiting):
                call.answer.cancel()

    async def _exchange(self, calls: list[_Call]) -> None:
        answers = await self._redis.attempt(self._pipeline(calls).execute(raise_on_error=False))
        if any(isinstance(answer, NoScriptError) for answer in answers):
            # A Redis that has just been started. What did run is not run again.
            await self._redis.attempt(self._load())
            missed = [at for at, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            again = self._pipeline([calls[at] for at in missed]).execute(raise_on_error=False)
            for at, answer in zip(missed, await self._redis.attempt(again), strict=True):
                answers[at] = answer
        for call, answer in zip(calls, answers, strict=True):
            if isinstance(answer, Exception):
                self._redis.breaker.trip(type(answer).__name__)
                self._fail(call)
            elif not call.answer.done():
                call.answer.set_result(answer)

    def _pipeline(self, calls: list[_Call]) -> Any:
        pipeline = self._redis.client.pipeline(transaction=False)
        for call in calls:
            sha = self._scripts[call.script].sha
            pipeline.evalsha(sha, len(call.keys), *call.keys, *call.arguments)
        return pipeline

    async def _load(self) -> None:
        for script in self._scripts:
            await self._redis.client.script_load(script.script)

    def _fail(self, call: _Call) -> None:
        # One error for each: whoever catches one may add to its traceback.
        if not call.answer.done():
            call.answer.set_exception(self._redis.breaker.refusal())
