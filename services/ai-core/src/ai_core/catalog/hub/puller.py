"""Starts the process that fetches, hears what it tells, and starts it again when it hangs or dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from ai_core.catalog.hub.messages import EVENTS, Event, Failed, Final, Moved, Order, Planned, Waiting
from servicekit.logging import get_logger

log = get_logger(__name__)

# -P: a folder called ai_core in the working directory is not ours.
COMMAND = (sys.executable, "-P", "-m", "ai_core.catalog.hub")
SILENCE = 150.0
"""Seconds without a word. The library notices a connection on which nothing comes after 10 s
(``HF_HUB_DOWNLOAD_TIMEOUT``) and goes on elsewhere; this is for whatever it does not notice."""
_LAST_WORDS = 4_000
_FOR_THE_LIBRARY = {
    # Nothing about this machine is told to anybody, and no other token than ours is sent.
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    # Plain HTTP can go on where another process stopped; the other protocol begins anew.
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_VERBOSITY": "critical",
}
_NOT_FOR_THE_LIBRARY = frozenset({"HF_DEBUG", "HF_HUB_ENABLE_HF_TRANSFER", "HF_TOKEN", "HUGGINGFACE_TOKEN"})

_STALLED = Failed("stalled", "Nothing comes from the hub any more. What has come is kept: try again.")


def child_environment(inherited: Mapping[str, str], endpoint: str) -> dict[str, str]:
    """The environment of the process that fetches: proxies and certificates as here."""
    kept = {name: value for name, value in inherited.items() if name not in _NOT_FOR_THE_LIBRARY}
    return kept | _FOR_THE_LIBRARY | {"HF_ENDPOINT": endpoint}


@dataclass(frozen=True, slots=True)
class Puller:
    """Carries out orders, each in a process of its own."""

    command: Sequence[str] = COMMAND
    silence: float = SILENCE
    """Seconds after which a process that says nothing is ended."""
    restarts: int = 3
    """In a row without a byte of progress."""

    async def events(self, order: Order) -> AsyncGenerator[Event]:
        """What happens; the last event is Completed or Failed.

        Close the iterator (``contextlib.aclosing``) to give up: what has come is kept for the next time.
        """
        useless, reached = 0, 0
        while True:
            begun = reached
            async with contextlib.aclosing(self._one_process(order)) as told:
                async for event in told:
                    yield event
                    if isinstance(event, Final):
                        return
                    reached = max(reached, _bytes_here(event))
            useless = 0 if reached > begun else useless + 1
            if useless > self.restarts:
                yield Failed(
                    "stalled", "Nothing comes from the hub any more. What has come is kept: try again."
                )
                return
            yield Waiting("The download hangs and is begun again where it stopped", 0.0)

    async def _one_process(self, order: Order) -> AsyncGenerator[Event]:
        """The events of one process; it may end, or be ended, without a final one."""
        process = await asyncio.create_subprocess_exec(
            *self.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=child_environment(os.environ, order.endpoint),
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        words = asyncio.create_task(_last_words(process.stderr))
        ended = False
        try:
            process.stdin.write(msgspec.json.encode(order) + b"\n")
            wait = self.silence
            while line := await _line(process.stdout, wait):
                event = EVENTS.decode(line)
                wait = self.silence + (event.seconds if isinstance(event, Waiting) else 0.0)
                ended = isinstance(event, Final)
                yield event
        finally:
            # Its input stays open until here: at its end the process ends itself.
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.stdin.close()
            await process.stdout.read()
            await process.wait()
            if (text := await words) and not ended:
                log.warning("a pull's process ended", repository=order.repository, words=text)


async def _line(output: asyncio.StreamReader, seconds: float) -> bytes:
    """The next line; empty when there is none, or none in time."""
    try:
        async with asyncio.timeout(seconds):
            return await output.readline()
    except TimeoutError:
        return b""


async def _last_words(errors: asyncio.StreamReader) -> str:
    words = b""
    while piece := await errors.read(_LAST_WORDS):
        words = (words + piece)[-_LAST_WORDS:]
    return words.decode(errors="replace").strip()


def _bytes_here(event: Event) -> int:
    match event:
        case Planned():
            return event.have
        case Moved(activity="downloading"):
            return event.done
        case _:
            return 0
