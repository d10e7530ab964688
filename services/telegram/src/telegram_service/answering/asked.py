"""Who wants something, and how they are spoken to."""

from __future__ import annotations

from dataclasses import dataclass

from telegram_service.answering.delivering import Deliverer
from telegram_service.dialogue.incoming import Incoming, Language
from telegram_service.dialogue.phrases import Phrase, phrase
from telegram_service.dialogue.settings import Keyboard
from telegram_service.formatting.markdown import read_markdown
from telegram_service.formatting.messages import to_messages
from telegram_service.messenger.port import Outgoing
from telegram_service.storage.people import Person


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

    async def show(
        self,
        deliverer: Deliverer,
        message_id: int,
        which: Phrase,
        keyboard: Keyboard | None = None,
        **values: object,
    ) -> None:
        """A text of the bot's own in the place of another. Raises MessengerError."""
        (message,) = self.say(which, keyboard, **values)
        await deliverer.show(self.incoming.place, message_id, message)
