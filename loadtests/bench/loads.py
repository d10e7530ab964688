"""The loads that matter to a suite whose messages all begin with the same system prompt."""

from __future__ import annotations

import asyncio
import random
import time

import httpx

from loadtests.bench.client import Chat, ask, ask_all
from loadtests.bench.statistics import Exchange, median, percentile, summary

Figures = dict[str, float]
_WORDS = [
    "contrat",
    "travail",
    "salaire",
    "employeur",
    "heures",
    "semaine",
    "repos",
    "droit",
    "rupture",
    "preavis",
    "essai",
    "duree",
    "clause",
    "accord",
    "branche",
    "prime",
    "bulletin",
    "absence",
    "maladie",
    "accident",
    "visite",
    "medecin",
    "formation",
    "depart",
    "retraite",
    "demande",
    "lettre",
    "reponse",
    "delai",
    "mois",
    "annee",
    "jour",
    "conge",
    "paye",
    "indemnite",
    "licenciement",
    "motif",
    "entretien",
    "convocation",
    "salarie",
]


def words(count: int, seed: int) -> str:
    """A text of so many words, the same for the same seed."""
    return " ".join(random.Random(seed).choices(_WORDS, k=count))


def _chat(system: str, *turns: str) -> list[dict[str, str]]:
    messages = [{"role": "system", "content": system}] if system else []
    for number, turn in enumerate(turns):
        messages.append({"role": "user" if number % 2 == 0 else "assistant", "content": turn})
    return messages


class Loads:
    """All loads against one server.

    Args:
        client: connected to the server.
        tokens_per_word: of the server's model, so that prompts have the wanted length in tokens.
        seed: varies all texts, so that no run finds the prompts of the one before in the cache.
    """

    def __init__(self, client: httpx.AsyncClient, tokens_per_word: float, seed: int) -> None:
        self._client = client
        self._tokens_per_word = tokens_per_word
        self._seed = seed * 1_000_003

    def _text(self, tokens: int, seed: int) -> str:
        return words(max(1, round(tokens / self._tokens_per_word)), self._seed + seed)

    async def shared(self) -> Figures:
        """24 requests, 8 at a time, with one 500-token system prompt."""
        system = self._text(500, 0)
        chats = [Chat(_chat(system, self._text(12, 1 + n))) for n in range(24)]
        return summary(await ask_all(self._client, chats, 8))

    async def alone(self) -> Figures:
        """One client, who asks 6 times, about 110 tokens each."""
        chats = [Chat(_chat("", self._text(100, 60 + n))) for n in range(6)]
        return summary(await ask_all(self._client, chats, 1))

    async def unlike(self) -> Figures:
        """24 requests, 8 at a time, with nothing in common, about 110 tokens each."""
        chats = [Chat(_chat("", self._text(100, 100 + n))) for n in range(24)]
        return summary(await ask_all(self._client, chats, 8))

    async def multi_turn(self) -> Figures:
        """8 users with 3 turns each; every turn carries the conversation so far."""
        system = self._text(200, 200)

        async def user(number: int) -> list[Exchange]:
            turns: list[str] = []
            exchanges = []
            for turn in range(3):
                turns.append(self._text(30, 300 + 10 * number + turn))
                exchanges.append(await ask(self._client, Chat(_chat(system, *turns))))
                # What the assistant said stands in the history as text that both servers read alike.
                turns.append(self._text(24, 400 + 10 * number + turn))
            return exchanges

        per_user = await asyncio.gather(*(user(number) for number in range(8)))
        return summary([exchange for exchanges in per_user for exchange in exchanges])

    async def mixed(self) -> Figures:
        """6 streams run undisturbed for a while, then a 4,000-token prompt arrives among them."""
        arrived = asyncio.Event()
        streams: list[Exchange] = []

        def watch(exchange: Exchange) -> bool:
            if len(exchange.chunks) == 1:
                streams.append(exchange)
            if len(streams) == 6 and all(len(stream.chunks) >= 24 for stream in streams):
                arrived.set()
            return finished.is_set()

        finished = asyncio.Event()
        chats = [Chat(_chat("", self._text(40, 500 + n)), tokens=3000) for n in range(6)]
        running = [asyncio.create_task(ask(self._client, chat, watch)) for chat in chats]
        await arrived.wait()
        began = time.perf_counter()
        long_prompt = await ask(self._client, Chat(_chat("", self._text(4000, 600)), tokens=24))
        finished.set()
        await asyncio.gather(*running)
        return _mixed_figures(streams, long_prompt, began)

    async def cancel_storm(self) -> Figures:
        """40 clients leave after their second piece of text, while 4 stay: what do those feel?"""
        staying = [Chat(_chat("", self._text(30, 700 + n)), tokens=40) for n in range(4)]
        leaving = [Chat(_chat("", self._text(30, 800 + n)), tokens=500) for n in range(40)]
        stay = asyncio.create_task(ask_all(self._client, staying, 4))
        gate = asyncio.Semaphore(8)

        async def leave(chat: Chat) -> None:
            async with gate:
                await ask(self._client, chat, lambda exchange: len(exchange.chunks) >= 2)

        await asyncio.gather(*(leave(chat) for chat in leaving))
        return summary(await stay)

    async def burst(self) -> Figures:
        """100 requests at the same moment."""
        system = self._text(100, 900)
        chats = [Chat(_chat(system, self._text(12, 901 + n)), tokens=8) for n in range(100)]
        return summary(await ask_all(self._client, chats, 100))


def _mixed_figures(streams: list[Exchange], long_prompt: Exchange, began: float) -> Figures:
    first_text = long_prompt.chunks[0] if long_prompt.chunks else long_prompt.done
    ended = float("inf") if first_text is None else first_text
    quiet: list[float] = []
    disturbed: list[float] = []
    for stream in streams:
        for earlier, later in zip(stream.chunks, stream.chunks[1:], strict=False):
            if later <= began:
                quiet.append((later - earlier) * 1e3)
            elif earlier <= ended:
                disturbed.append((later - earlier) * 1e3)
    return {
        "itl_undisturbed_p50_ms": median(quiet),
        "itl_p50_ms": median(disturbed),
        "itl_p99_ms": percentile(disturbed, 99),
        "itl_p99_over_undisturbed": percentile(disturbed, 99) / median(quiet),
        "long_prompt_tokens": long_prompt.prompt_tokens,
        "long_prompt_ttft_s": ended - long_prompt.sent,
    }
