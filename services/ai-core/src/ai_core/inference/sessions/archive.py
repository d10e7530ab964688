"""Where conversations are kept: one value each, and one list for each API key."""

from __future__ import annotations

import msgspec

from ai_core.inference.sessions.conversation import Conversation
from servicekit.key_value.port import KeyValueStore
from servicekit.storage.sealing import Seal, Unreadable


class SessionFacts(msgspec.Struct, frozen=True):
    """What a list says of a conversation. Times in seconds since 1970."""

    session_id: str
    created_at: float
    updated_at: float
    turns: int


class Found(msgspec.Struct, frozen=True):
    """What is in the store, and the conversation that it stands for. Nothing for neither; bytes without a
    conversation cannot be read any more."""

    conversation: Conversation | None
    stored: bytes | None


_encode = msgspec.msgpack.Encoder().encode
_conversation = msgspec.msgpack.Decoder(Conversation)
_facts = msgspec.msgpack.Decoder(SessionFacts)


class Archive:
    """Conversations by API key and session id. One that cannot be read any more, because SECRET_KEY has
    changed, is over, like one whose time has run out. All methods raise StoreUnavailable."""

    def __init__(self, store: KeyValueStore, seal: Seal, *, ttl: float) -> None:
        """``ttl``: seconds that a conversation is kept after its last answer."""
        self.store = store
        self.ttl = ttl
        self._seal = seal

    def place(self, key_id: str, session_id: str) -> str:
        """Where a conversation is kept. It says nothing about either."""
        return "session:" + self._seal.name(key_id.encode(), session_id.encode())

    async def find(self, key_id: str, session_id: str) -> Found:
        """What there is of a conversation."""
        place = self.place(key_id, session_id)
        stored = await self.store.get(place)
        if stored is None:
            return Found(None, None)
        try:
            return Found(_conversation.decode(self._seal.open(stored, place)), stored)
        except (Unreadable, msgspec.DecodeError):
            return Found(None, stored)

    async def replace(self, key_id: str, expected: bytes | None, conversation: Conversation) -> bool:
        """Keep a conversation in the place of what was found; False if that has changed meanwhile."""
        place = self.place(key_id, conversation.session_id)
        value = self._seal.close(_encode(conversation), place)
        if not await self.store.swap(place, expected, value, self.ttl):
            return False
        facts = SessionFacts(
            conversation.session_id,
            conversation.created_at,
            conversation.updated_at,
            conversation.dropped + len(conversation.turns),
        )
        sealed = self._seal.close(_encode(facts), place)
        await self.store.index_put(self._index(key_id), place, sealed, self.ttl)
        return True

    async def delete(self, key_id: str, session_id: str) -> bool:
        """Whether there was one."""
        place = self.place(key_id, session_id)
        existed = await self.store.delete(place)
        await self.store.index_remove(self._index(key_id), place)
        return existed

    async def list(self, key_id: str, limit: int) -> list[SessionFacts]:
        """The conversations of a key, those answered last first."""
        members = await self.store.index_list(self._index(key_id), limit)
        return [facts for place, sealed in members if (facts := self._read_facts(place, sealed)) is not None]

    def _read_facts(self, place: str, sealed: bytes) -> SessionFacts | None:
        try:
            return _facts.decode(self._seal.open(sealed, place))
        except (Unreadable, msgspec.DecodeError):
            return None

    def _index(self, key_id: str) -> str:
        return "sessions:" + self._seal.name(key_id.encode())
