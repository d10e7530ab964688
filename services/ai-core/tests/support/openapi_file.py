"""The committed description of the API. Run as a program, this renews it: ``make openapi``."""

from __future__ import annotations

import asyncio
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edge_server import FakeEngine, Server, running_server
from servicekit.logging import configure

PATH = Path(__file__).resolve().parents[2] / "openapi.json"


async def description_by(server: Server) -> dict[str, Any]:
    """What a server says of itself, with the version of the package."""
    description: dict[str, Any] = (await server.client.get("/openapi.json")).json()
    description["info"]["version"] = version("ai-core")
    return description


async def current_text() -> str:
    """What the file has to hold."""
    async with running_server(FakeEngine()) as server:
        return json.dumps(await description_by(server), ensure_ascii=False, indent=2) + "\n"


if __name__ == "__main__":
    configure("error")
    PATH.write_text(asyncio.run(current_text()), encoding="utf-8")
