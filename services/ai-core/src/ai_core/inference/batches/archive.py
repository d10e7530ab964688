"""Batches as their owners see them: made, listed, read, cancelled, deleted."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from ai_core.errors import BatchNotFound, InvalidRequest, Overloaded
from ai_core.inference.batches.decisions import Outcome
from ai_core.storage.batches import BatchRecord, BatchRepository, BatchState, Claim, Counts, LineState
from servicekit.storage.sealing import Seal, Unreadable

MAX_UNFINISHED = 16
"""Batches of one key that are in progress at once."""
RETRY_WHEN_FULL = 60.0
_IN_ONE_GO = 50
"""Lines that are sealed before others get their turn."""


class Line(msgspec.Struct, frozen=True):
    """One request of a batch. ``body`` is JSON."""

    custom_id: str
    url: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch, and how many of its lines are in each state."""

    record: BatchRecord
    counts: Counts


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Line).decode
_encode = msgspec.json.Encoder().encode


def utc_now() -> datetime:
    """The time that batches are stamped with."""
    return datetime.now(UTC)


class Batches:
    """All batches. Each belongs to one API key; other keys cannot tell that it exists.

    Every method raises StorageUnavailable when the database is down.
    """

    def __init__(
        self, repository: BatchRepository, seal: Seal, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._repository = repository
        self._seal = seal
        self._now = now
        self.changed = asyncio.Event()
        """Set when there may be new work, or less of it."""

    async def add(self, key_id: str, lines: Sequence[Line]) -> Batch:
        """Keep a new batch. Raises Overloaded where the key has too many in progress."""
        if len(await self._repository.in_progress(key_id)) >= MAX_UNFINISHED:
            raise Overloaded(
                f"This API key has {MAX_UNFINISHED} batches in progress. Wait for one to end, or cancel one.",
                code="too_many_batches",
                retry_after=RETRY_WHEN_FULL,
            )
        record = BatchRecord(
            id="batch_" + secrets.token_hex(12), key_id=key_id, lines=len(lines), created_at=self._now()
        )
        sealed = []
        for number, line in enumerate(lines):
            if number % _IN_ONE_GO == 0:
                await asyncio.sleep(0)
            sealed.append(self._seal.close(_pack(line), _place(record.id, number, "request")))
        await self._repository.add(record, sealed)
        self.changed.set()
        return Batch(record, dict.fromkeys(LineState, 0) | {LineState.WAITING: len(lines)})

    async def list(self, key_id: str, limit: int) -> list[Batch]:
        """Batches of a key, the newest first."""
        return [Batch(*found) for found in await self._repository.of_key(key_id, limit)]

    async def get(self, key_id: str, batch_id: str) -> Batch:
        """One batch. Raises BatchNotFound."""
        found = await self._repository.find(key_id, batch_id)
        if found is None:
            raise BatchNotFound(
                "There is no such batch: it was never made, was deleted, or its time ran out."
            )
        return Batch(*found)

    async def cancel(self, key_id: str, batch_id: str) -> Batch:
        """End a batch; results that are there stay.

        Raises:
            BatchNotFound: as the name says.
            InvalidRequest: it is over already.
        """
        await self.get(key_id, batch_id)
        if not await self._repository.end(batch_id, BatchState.CANCELLED):
            raise InvalidRequest(
                "This batch is over already; there is nothing to cancel.", code="batch_is_over"
            )
        self.changed.set()
        return await self.get(key_id, batch_id)

    async def delete(self, key_id: str, batch_id: str) -> None:
        """Forget a batch, its requests and its results; what runs of it stops. Raises BatchNotFound."""
        if not await self._repository.delete(key_id, batch_id):
            await self.get(key_id, batch_id)
        self.changed.set()

    async def results(self, batch_id: str) -> AsyncIterator[bytes]:
        """A JSON object for each line that has ended, in the order of the input."""
        async for line in self._repository.ended_lines(batch_id):
            if line.result is not None:
                yield self._open(line.result, batch_id, line.number, "result")
            elif line.request is not None:
                request = self._open(line.request, batch_id, line.number, "request")
                yield cancelled_line(batch_id, line.number, _custom_id(request))

    def line(self, claim: Claim, stored: bytes) -> Line | None:
        """The request of a line; None where SECRET_KEY has changed since it was stored."""
        try:
            return _unpack(self._seal.open(stored, _place(claim.batch_id, claim.number, "request")))
        except (Unreadable, msgspec.DecodeError):
            return None

    def result(self, claim: Claim, line: Line | None, outcome: Outcome) -> bytes:
        """What is stored of an answer."""
        custom_id = None if line is None else line.custom_id
        text = result_line(claim.batch_id, claim.number, custom_id, outcome)
        return self._seal.close(text, _place(claim.batch_id, claim.number, "result"))

    def _open(self, stored: bytes, batch_id: str, number: int, kind: str) -> bytes:
        try:
            return self._seal.open(stored, _place(batch_id, number, kind))
        except Unreadable:
            return unreadable_line(batch_id, number) if kind == "result" else b""


def result_line(batch_id: str, number: int, custom_id: str | None, outcome: Outcome) -> bytes:
    """One line of the results, as OpenAI's: https://platform.openai.com/docs/api-reference/batch"""
    response = {
        "status_code": outcome.status,
        "request_id": outcome.request_id,
        "body": msgspec.Raw(outcome.body),
    }
    return _encode(
        {"id": f"{batch_id}_{number}", "custom_id": custom_id, "response": response, "error": None}
    )


def cancelled_line(batch_id: str, number: int, custom_id: str | None) -> bytes:
    """The same for a line that was never answered."""
    return _without_response(
        batch_id, number, custom_id, "batch_cancelled", "The batch ended before this request was answered."
    )


def unreadable_line(batch_id: str, number: int) -> bytes:
    """The same where SECRET_KEY has changed since."""
    return _without_response(
        batch_id, number, None, "unreadable", "This result was sealed with another SECRET_KEY than today's."
    )


def _without_response(batch_id: str, number: int, custom_id: str | None, code: str, message: str) -> bytes:
    error = {"code": code, "message": message}
    return _encode({"id": f"{batch_id}_{number}", "custom_id": custom_id, "response": None, "error": error})


def _custom_id(packed: bytes) -> str | None:
    try:
        return _unpack(packed).custom_id
    except msgspec.DecodeError:
        return None


def _place(batch_id: str, number: int, kind: str) -> str:
    return f"{batch_id}/{number}/{kind}"
