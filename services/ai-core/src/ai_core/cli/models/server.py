"""The running server, as far as commands about models need it. Without one, the disk has to tell."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx

TIMEOUT = httpx.Timeout(5.0, read=60.0)
GONE = frozenset({"stopped", "parked", "not_fetched"})
"""States of a model that is not in memory."""


@dataclass(frozen=True, slots=True)
class RunningServer:
    """``key``: with the scopes ``models:read`` and ``models:write``, if there is one."""

    url: str
    key: str | None = field(repr=False)

    async def models(self) -> dict[str, dict[str, Any]] | None:
        """What it says of its models, by name; None: no server answers, or not to this key."""
        answer = await self._ask("GET", "/api/v1/models")
        if answer is None or answer.status_code != httpx.codes.OK:
            return None
        return {facts["name"]: facts for facts in answer.json()["models"]}

    async def is_resident(self, name: str) -> bool:
        """Whether it has a model in memory, or is about to."""
        facts = (await self.models() or {}).get(name)
        return facts is not None and facts.get("state") not in GONE

    async def unload(self, name: str) -> str:
        """Put a model out of memory. Returns what is wrong; empty: it is out."""
        answer = await self._ask("POST", "/api/v1/models/unload", {"model": name})
        if answer is None:
            return f"No server answers at {self.url}."
        return "" if answer.is_success else _message(answer)

    async def reload(self) -> bool:
        """Let it look at its models again. False: there is no server, or it did not do it."""
        answer = await self._ask("POST", "/api/v1/admin/models/reload", {})
        return answer is not None and answer.is_success

    async def _ask(self, method: str, path: str, body: object = None) -> httpx.Response | None:
        headers = {} if self.key is None else {"X-API-Key": self.key, "Authorization": f"Bearer {self.key}"}
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT, trust_env=False) as client:
                return await client.request(method, self.url + path, json=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL):
            return None


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"The server refuses with status {answer.status_code}."
