"""Telegram (the emulator, with its limits) for many people, in a process of its own.

Prints its address, then serves until its input ends. ``GET /city`` tells when each person's answer was
complete.
"""

from __future__ import annotations

import asyncio
import sys

from fastapi import FastAPI
from tests.emulators.telegram.app import BotApi
from tests.emulators.telegram.world import Person

from loadtests.plan import FIRST_PERSON
from telegram_server import telegram_server

MOST_PEOPLE = 1_000
MORE_TO_COME = "…"


def add_report(app: FastAPI, api: BotApi) -> None:
    """Where the load test looks."""

    async def city() -> dict[str, float]:
        return {
            str(line.chat_id): line.at
            for line in api.world.transcript
            if line.what in {"sent", "edited"} and not line.text.endswith(MORE_TO_COME)
        }

    app.add_api_route("/city", city)


async def main() -> None:
    """Until the input ends."""
    async with telegram_server(also=add_report) as telegram:
        for number in range(MOST_PEOPLE):
            telegram.world.add_person(Person(FIRST_PERSON + number, f"Person {number}", "fr"))
        print(telegram.url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
