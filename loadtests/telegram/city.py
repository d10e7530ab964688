"""Everything around the service in a process of its own: Telegram (the emulator, with its limits) for a
thousand people, and an AI core that answers at once.

Prints one line of JSON with the addresses, then serves until its input ends. ``GET /city`` tells what people
have been shown.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from tests.emulators.telegram.app import BotApi
from tests.emulators.telegram.world import Person, World

from telegram_chaos.core import Core
from telegram_server import telegram_server

PEOPLE = 1_000
FIRST_PERSON = 1_000
MORE_TO_COME = "…"


def answers(world: World) -> Iterator[tuple[str, float]]:
    """The first words of each complete answer, and when it was there."""
    for line in world.transcript:
        if line.what in {"sent", "edited"} and not line.text.endswith(MORE_TO_COME):
            yield line.text.partition(" de :")[0], line.at


def add_report(app: FastAPI, api: BotApi) -> None:
    """Where the load test looks."""
    world = api.world

    async def city() -> dict[str, Any]:
        return {
            "answers": list(answers(world)),
            "sends": [line.at for line in world.transcript if line.what in {"sent", "edited"}],
            "refused": world.flood.refused,
        }

    async def count() -> int:
        return len(set(answers(world)))

    app.add_api_route("/city", city)
    app.add_api_route("/city/count", count)


async def main() -> None:
    """Until the input ends."""
    async with telegram_server(also=add_report) as telegram, Core(pause=0.0).listening() as core:
        for number in range(PEOPLE):
            telegram.world.add_person(Person(FIRST_PERSON + number, f"Person {number}", "fr"))
        # A pause for collecting would let calls wait and then be counted as if they had come all at once.
        gc.disable()
        print(json.dumps({"telegram": telegram.url, "core": core.url}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
