"""Does what was decided about a message, but for asking the model: what is to be said is returned."""

from __future__ import annotations

from dataclasses import dataclass, replace

from servicekit.ai_core.client import AiCore
from servicekit.ai_core.errors import AiCoreError
from servicekit.journal.journal import Journal
from servicekit.journal.ledger import Ledger
from servicekit.journal.records import EntryState
from telegram_service.answering.administering import Administration
from telegram_service.answering.asked import Asked
from telegram_service.answering.delivering import Deliverer
from telegram_service.answering.heeding import stop_signal
from telegram_service.answering.personal_data import FILE_NAME, PersonalData
from telegram_service.dialogue.actions import (
    Acknowledge,
    AdminDeed,
    Deed,
    Export,
    Forget,
    MarkReachable,
    OfferModels,
    Reset,
    Save,
    Say,
    Show,
    Status,
    Stop,
    Switch,
)
from telegram_service.dialogue.phrases import (
    CHOSEN,
    Phrase,
    phrase,
    settings_keyboard,
)
from telegram_service.dialogue.settings import Button
from telegram_service.messenger.port import Messenger, Outgoing
from telegram_service.storage.conversations import Conversations
from telegram_service.storage.people import People

MOST_DATA_BYTES = 64
"""Of a button."""
_NOBODY: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Performer:
    """One for all lanes. Everything it does may be done again: what came in may come up twice."""

    ai_core: AiCore
    messenger: Messenger
    deliverer: Deliverer
    people: People
    conversations: Conversations
    administration: Administration
    personal_data: PersonalData
    journal: Journal
    ledger: Ledger
    default_model: str | None = None

    async def perform(self, deed: Deed, asked: Asked) -> list[Outgoing]:
        """What is to be said about it. Raises StorageUnavailable, MessengerError."""
        match deed:
            case Say(which, values, keyboard):
                return asked.say(which, keyboard, **values)
            case Show(message_id, which, keyboard, language):
                spoken_to = replace(asked, language=language or asked.language)
                await spoken_to.show(self.deliverer, message_id, which, keyboard)
            case Acknowledge(query_id, hint):
                await self.messenger.acknowledge(query_id, phrase(hint, asked.language) if hint else "")
            case Save(settings):
                await self.people.save(asked.person.id, settings)
            case MarkReachable(reachable):
                await self.people.mark(asked.person.id, reachable=reachable)
            case Reset():
                await self.conversations.reset(asked.incoming.place.lane)
            case Export():
                return [replace(one, file=FILE_NAME) for one in asked.say(Phrase.EXPORT_FAILED)]
            case Forget():
                await self.personal_data.forget(asked.person.id, wish=str(asked.incoming.update_id))
            case _:
                return await self._perform_further(deed, asked)
        return []

    async def _perform_further(
        self, deed: Switch | OfferModels | Status | Stop | AdminDeed, asked: Asked
    ) -> list[Outgoing]:
        match deed:
            case Stop(tell):
                return await self._stop(asked, tell=tell)
            case Switch(model, message_id):
                return await self._switch(model, message_id, asked)
            case OfferModels(message_id):
                return await self._offer_models(message_id, asked)
            case Status():
                return await self._status(asked)
            case _:
                return await self.administration.perform(deed, asked)

    async def _stop(self, asked: Asked, *, tell: bool) -> list[Outgoing]:
        lane = asked.incoming.place.lane
        running = await self.ledger.oldest_pending(lane)
        if running is None or running.state is EntryState.ANSWERED:
            # An answer that is complete is only being delivered: there is nothing left to stop.
            return asked.say(Phrase.NOTHING_RUNS) if tell else []
        await self.journal.signal(lane, stop_signal(running.id))
        # It may wait for the AI core: then nobody would hear the signal before that comes back.
        await self.ledger.hasten(running.id)
        return []

    async def _switch(self, model: str, message_id: int | None, asked: Asked) -> list[Outgoing]:
        try:
            names = [facts.name for facts in await self.ai_core.models() if facts.kind == "generation"]
        except AiCoreError:
            return asked.say(Phrase.MODELS_AWAY)
        if model not in names:
            return asked.say(Phrase.NO_SUCH_MODEL, model=model)
        settings = replace(asked.person.settings, model=model)
        await self.people.save(asked.person.id, settings)
        if message_id is None:
            return asked.say(Phrase.SWITCHED, model=model)
        keyboard = settings_keyboard(settings, asked.language)
        await asked.show(self.deliverer, message_id, Phrase.SWITCHED, keyboard, model=model)
        return []

    async def _offer_models(self, message_id: int | None, asked: Asked) -> list[Outgoing]:
        try:
            models = [facts for facts in await self.ai_core.models() if facts.kind == "generation"]
        except AiCoreError:
            return asked.say(Phrase.MODELS_AWAY)
        default = next((facts.name for facts in models if facts.default), "")
        present = asked.person.settings.model or self.default_model or default
        keyboard = tuple(
            (Button((CHOSEN if facts.name == present else "") + facts.name, f"model:{facts.name}"),)
            for facts in models
            if len(f"model:{facts.name}".encode()) <= MOST_DATA_BYTES
        )
        if message_id is None:
            return asked.say(Phrase.MODELS, keyboard)
        await asked.show(self.deliverer, message_id, Phrase.MODELS, keyboard)
        return []

    async def _status(self, asked: Asked) -> list[Outgoing]:
        # The question for it waits, too.
        waiting = await self.ledger.pending() - 1
        queue = phrase(
            Phrase.QUEUE if waiting > 0 else Phrase.QUEUE_EMPTY, asked.language, count=max(0, waiting)
        )
        try:
            models = await self.ai_core.models()
            await self.ai_core.ping()
        except AiCoreError:
            return asked.say(Phrase.STATUS_AWAY, queue=queue)
        default = next((facts.name for facts in models if facts.default), "–")
        model = asked.person.settings.model or self.default_model or default
        return asked.say(Phrase.STATUS, model=f"`{model}`", queue=queue)
