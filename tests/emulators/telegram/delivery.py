"""How updates reach the bot: by its webhook, or asked for."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from tests.emulators.telegram import refusal
from tests.emulators.telegram.world import World

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"
_SECRET = re.compile(r"[A-Za-z0-9_-]{1,256}")
FIRST_RETRY_SECONDS = 0.2
"""The original begins with about a second; the doubling is what matters."""
LONGEST_RETRY_SECONDS = 5.0
MAX_POLL_SECONDS = 50
Mangle = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]


@dataclass
class Webhook:
    """Where updates go."""

    url: str
    secret: str = ""
    allowed: list[str] = field(default_factory=list)
    last_error: str = ""
    last_error_at: int = 0


class Delivery:
    """Delivers each update until the bot has taken it: in order within a chat, side by side otherwise.

    ``mangle`` may change what is delivered: leave out nothing, but double or reorder.
    """

    def __init__(self, world: World, mangle: Mangle = list, http: httpx.AsyncClient | None = None) -> None:
        """``http`` finds webhooks that are not where their names say."""
        self.webhook: Webhook | None = None
        self.taken: Callable[[dict[str, Any]], object] = bool
        """Called with each update that the webhook has taken."""
        self._world = world
        self._mangle = mangle
        self._taken = 0
        """Of the world's updates: handed to the webhook's queues, or confirmed by polling."""
        self._queues: dict[int, asyncio.Queue[dict[str, Any]]] = defaultdict(asyncio.Queue)
        self._in_hand = 0
        """Of the queues' updates: those that are being handed over, perhaps again and again."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._poller: asyncio.Event | None = None
        self._news = asyncio.Event()
        self._http = http or httpx.AsyncClient(timeout=10, trust_env=False)

    def announce(self) -> None:
        """There may be new updates."""
        self._news.set()
        self._news = asyncio.Event()
        if self.webhook is not None:
            fresh, self._taken = self._world.updates[self._taken :], len(self._world.updates)
            for update in self._mangle(fresh):
                self._enqueue(update)

    def set_webhook(self, fields: dict[str, Any]) -> bool:
        """setWebhook. Raises Refusal."""
        url, secret = str(fields.get("url", "")), str(fields.get("secret_token", ""))
        if secret and not _SECRET.fullmatch(secret):
            raise refusal.bad_request("secret token contains unallowed characters")
        self.webhook = Webhook(url, secret, list(fields.get("allowed_updates") or [])) if url else None
        if fields.get("drop_pending_updates"):
            self._taken = len(self._world.updates)
        self.announce()
        return True

    def info(self) -> dict[str, Any]:
        """getWebhookInfo."""
        queued = self._in_hand + sum(queue.qsize() for queue in self._queues.values())
        waiting = len(self._world.updates) - self._taken + queued
        url = "" if self.webhook is None else self.webhook.url
        info = {"url": url, "has_custom_certificate": False, "pending_update_count": waiting}
        hook = self.webhook
        if hook is None or not hook.last_error:
            return info
        return info | {"last_error_message": hook.last_error, "last_error_date": hook.last_error_at}

    async def poll(self, fields: dict[str, Any]) -> list[dict[str, Any]]:
        """getUpdates. Raises Refusal."""
        if self.webhook is not None:
            raise refusal.WEBHOOK_ACTIVE
        if self._poller is not None:
            self._poller.set()
        mine = self._poller = asyncio.Event()
        try:
            return await self._wait_for_updates(fields, mine)
        finally:
            if self._poller is mine:
                self._poller = None

    def end_polls(self) -> None:
        """Whoever waits for updates waits no longer."""
        if self._poller is not None:
            self._poller.set()

    async def close(self) -> None:
        """Deliver nothing more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.aclose()

    async def _wait_for_updates(
        self, fields: dict[str, Any], overtaken: asyncio.Event
    ) -> list[dict[str, Any]]:
        offset = int(fields.get("offset") or 0)
        while self._taken < len(self._world.updates):
            if self._world.updates[self._taken]["update_id"] >= offset:
                break
            self._taken += 1
        deadline = asyncio.get_running_loop().time() + min(int(fields.get("timeout") or 0), MAX_POLL_SECONDS)
        while not (found := self._world.updates[self._taken :]):
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return []
            waits = [asyncio.create_task(event.wait()) for event in (self._news, overtaken)]
            await asyncio.wait(waits, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            if overtaken.is_set():
                raise refusal.OTHER_POLLER
        return self._mangle(found)[: int(fields.get("limit") or 100)]

    def _enqueue(self, update: dict[str, Any]) -> None:
        chat = _chat_of(update)
        if chat not in self._queues:
            task = asyncio.create_task(self._deliver_in_order(self._queues[chat]))
            self._tasks.add(task)
        self._queues[chat].put_nowait(update)

    async def _deliver_in_order(self, queue: asyncio.Queue[dict[str, Any]]) -> None:
        while True:
            update = await queue.get()
            wait = FIRST_RETRY_SECONDS
            self._in_hand += 1
            while not await self._deliver(update):
                await asyncio.sleep(wait)
                wait = min(2 * wait, LONGEST_RETRY_SECONDS)
            self._in_hand -= 1

    async def _deliver(self, update: dict[str, Any]) -> bool:
        webhook = self.webhook
        if webhook is None:
            return False
        headers = {SECRET_HEADER: webhook.secret} if webhook.secret else {}
        try:
            response = await self._http.post(webhook.url, json=update, headers=headers)
        except httpx.HTTPError as error:
            self._failed(webhook, type(error).__name__)
            return False
        if response.is_success:
            self.taken(update)
        else:
            self._failed(webhook, f"Wrong response from the webhook: {response.status_code}")
        return response.is_success

    def _failed(self, webhook: Webhook, error: str) -> None:
        webhook.last_error, webhook.last_error_at = error, int(self._world.clock())


def _chat_of(update: dict[str, Any]) -> int:
    for value in update.values():
        if isinstance(value, dict):
            chat = value.get("chat") or value.get("message", {}).get("chat")
            return int(chat["id"]) if chat else 0
    return 0
