"""Does what was decided about a message, but for asking the model: what is to be said is returned."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from servicekit.ai_core.client import AiCore
from servicekit.ai_core.errors import AiCoreError
from servicekit.journal.journal import Journal
from servicekit.journal.ledger import Ledger
from telegram_service.answering.writing import STOP
from telegram_service.dialogue.actions import (
    Acknowledge,
    Ban,
    Deed,
    Export,
    Forget,
    MarkReachable,
    OfferModels,
    Reset,
    Save,
    Say,
    Show,
    Stats,
    Status,
    Stop,
    Switch,
)
from telegram_service.dialogue.incoming import Incoming, Language
from telegram_service.dialogue.phrases import Phrase, phrase
from telegram_service.dialogue.settings import Button, Keyboard
from telegram_service.formatting.markdown import read_markdown
from telegram_service.formatting.messages import to_messages
from telegram_service.messenger.port import Messenger, Outgoing
from telegram_service.storage.conversations import Conversations
from telegram_service.storage.people import People, Person

ACTIVE_DAYS = 7


@dataclass(frozen=True, slots=True)
class Asked:
    """Who wants something, and in which language they are answered."""

    person: Person
    incoming: Incoming
    language: Language

    def say(self, which: Phrase, keyboard: Keyboard | None = None, **values: object) -> list[Outgoing]:
        """A text of the bot's own."""
        return [
            Outgoing(message, keyboard)
            for message in to_messages(read_markdown(phrase(which, self.language, **values)))
        ]


class Performer:
    """One for all lanes. Everything it does may be done again: what came in may come up twice."""

    def __init__(
        self,
        *,
        ai_core: AiCore,
        messenger: Messenger,
        people: People,
        conversations: Conversations,
        journal: Journal,
        ledger: Ledger,
        clock: Callable[[], datetime],
        default_model: str | None = None,
    ) -> None:
        self._ai_core = ai_core
        self._messenger = messenger
        self._people = people
        self._conversations = conversations
        self._journal = journal
        self._ledger = ledger
        self._clock = clock
        self._default_model = default_model

    async def perform(self, deed: Deed, asked: Asked) -> list[Outgoing]:
        """What is to be said about it. Raises StorageUnavailable, MessengerError."""
        match deed:
            case Say(which, values, keyboard):
                return asked.say(which, keyboard, **values)
            case Show(message_id, which, keyboard):
                (outgoing,) = asked.say(which, keyboard)
                await self._messenger.edit(asked.incoming.place, message_id, outgoing)
            case Acknowledge(query_id, hint):
                await self._messenger.acknowledge(query_id, phrase(hint, asked.language) if hint else "")
            case Save(settings):
                await self._people.save(asked.person.id, settings)
            case MarkReachable(reachable):
                await self._people.mark(asked.person.id, reachable=reachable)
            case Ban(user_id, banned):
                await self._people.ban(user_id, banned=banned)
                return _plain(f"{user_id}: {'banned' if banned else 'let in'}")
            case _:
                return await self._perform_further(deed, asked)
        return []

    async def _perform_further(
        self,
        deed: Switch | OfferModels | Status | Reset | Stop | Export | Forget | Stats,
        asked: Asked,
    ) -> list[Outgoing]:
        place = asked.incoming.place
        match deed:
            case Stop():
                await self._journal.signal(place.lane, STOP)
            case Reset():
                await self._conversations.reset(place.lane)
            case Switch(model):
                return await self._switch(model, asked)
            case OfferModels():
                return await self._offer_models(asked)
            case Status():
                return await self._status()
            case Stats():
                return await self._stats()
            case Export():
                await self._export(asked)
            case Forget():
                await self._forget(asked)
            case _:
                assert_never(deed)
        return []

    async def _switch(self, model: str, asked: Asked) -> list[Outgoing]:
        try:
            names = [facts.name for facts in await self._ai_core.models()]
        except AiCoreError:
            return asked.say(Phrase.PLEASE_WAIT)
        if model not in names:
            return asked.say(Phrase.NO_SUCH_MODEL, model=model)
        await self._people.save(asked.person.id, replace(asked.person.settings, model=model))
        return asked.say(Phrase.SWITCHED, model=model)

    async def _offer_models(self, asked: Asked) -> list[Outgoing]:
        try:
            models = [facts for facts in await self._ai_core.models() if facts.kind == "generation"]
        except AiCoreError:
            return asked.say(Phrase.PLEASE_WAIT)
        default = next((facts.name for facts in models if facts.default), "")
        present = asked.person.settings.model or self._default_model or default
        keyboard = tuple(
            (Button(("✓ " if facts.name == present else "") + facts.name, f"model:{facts.name}"),)
            for facts in models
            if len(f"model:{facts.name}".encode()) <= 64
        )
        return asked.say(Phrase.MODELS, keyboard)

    async def _status(self) -> list[Outgoing]:
        backlog = await self._ledger.backlog()
        try:
            state = f"ok, {await self._ai_core.ping() * 1000:.0f} ms"
        except AiCoreError as error:
            state = type(error).__name__
        return _plain(f"AI core: {state}\nMessages: {backlog.pending}")

    async def _stats(self) -> list[Outgoing]:
        backlog = await self._ledger.backlog()
        active = await self._people.active_since(self._clock() - timedelta(days=ACTIVE_DAYS))
        return _plain(
            f"{active} / {ACTIVE_DAYS} d\n" + "\n".join(f"{k}: {v}" for k, v in asdict(backlog).items())
        )

    async def _export(self, asked: Asked) -> None:
        document = {
            "id": asked.person.id,
            "settings": asdict(asked.person.settings),
            "messages": [
                {
                    "chat": kept.lane,
                    "at": kept.at.isoformat(),
                    "question": kept.turn.question,
                    "answer": kept.turn.answer,
                    "document": kept.turn.document,
                }
                for kept in await self._conversations.of_person(asked.person.id)
            ],
        }
        content = json.dumps(document, ensure_ascii=False, indent=2).encode()
        await self._messenger.send_file(asked.incoming.place, "neo-export.json", content)

    async def _forget(self, asked: Asked) -> None:
        """Delete all that is kept about somebody; the lanes of a chat with them alone go, too, and with them
        the message that asked for it."""
        await self._conversations.forget(asked.person.id)
        await self._people.forget(asked.person.id)
        place = asked.incoming.place
        if not place.is_group:
            await self._ledger.forget(place.lane)
            await self._ledger.forget(place.control_lane)


def _plain(text: str) -> list[Outgoing]:
    return [Outgoing(message) for message in to_messages(read_markdown(f"```\n{text}\n```"))]
