"""The chats of the emulator: who is in them, and what they see. No network, no clock of its own."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.emulators.telegram import refusal
from tests.emulators.telegram.files import MAX_UPLOAD, Files
from tests.emulators.telegram.flood import FloodControl
from tests.emulators.telegram.texts import accept_keyboard, accept_text

EDITABLE_SECONDS = 48 * 3600
CALLBACK_SECONDS = 15 * 60
GENERAL_TOPIC = 1
_COMMAND = re.compile(r"[a-z0-9_]{1,32}")


@dataclass
class Person:
    """Somebody with a Telegram account; the private chat with them has the same id."""

    id: int
    first_name: str
    language_code: str = "fr"
    username: str = ""
    has_blocked: bool = False

    def user(self) -> dict[str, Any]:
        fields = {
            "id": self.id,
            "is_bot": False,
            "first_name": self.first_name,
            "language_code": self.language_code,
        }
        return fields | ({"username": self.username} if self.username else {})


@dataclass
class Chat:
    """A conversation: with one person, or a group."""

    id: int
    kind: Literal["private", "supergroup"]
    title: str
    topics: set[int] = field(default_factory=set)
    moved_to: int | None = None
    """The id of the supergroup that this group became."""

    def fields(self) -> dict[str, Any]:
        name = "first_name" if self.kind == "private" else "title"
        forum = {"is_forum": True} if self.topics else {}
        return {"id": self.id, "type": self.kind, name: self.title, **forum}


@dataclass
class Shown:
    """A message as its chat shows it."""

    id: int
    chat: Chat
    sender: Person | None
    """None: the bot."""
    at: float
    fields: dict[str, Any]
    """Text or document, entities, keyboard, thread."""
    versions: list[str] = field(default_factory=list)
    """Every text that it had, the last one being what is shown."""
    deleted: bool = False
    hidden: bool = False
    """Its reader has cleared the history; the bot sees no difference."""


@dataclass
class Happened:
    """A line of the transcript."""

    at: float
    what: str
    chat_id: int
    message_id: int | None = None
    text: str = ""


class World:
    """Everything behind the Bot API for one bot."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.bot = {
            "id": 7_000_000,
            "is_bot": True,
            "first_name": "Neo",
            "username": "neo_test_bot",
            "can_join_groups": True,
            "can_read_all_group_messages": False,
            "supports_inline_queries": False,
        }
        self.people: dict[int, Person] = {}
        self.chats: dict[int, Chat] = {}
        self.messages: dict[tuple[int, int], Shown] = {}
        self.updates: list[dict[str, Any]] = []
        self.files = Files(clock)
        self.commands: dict[str, list[dict[str, str]]] = {}
        self.transcript: list[Happened] = []
        self.flood = FloodControl()
        self._queries: dict[str, tuple[float, int]] = {}
        """When and in which chat a button was pressed."""
        self._numbers = itertools.count(1)
        self._update_ids = itertools.count(100_000)

    # --- what people do ---------------------------------------------------------------------------

    def add_person(self, person: Person) -> Person:
        """Somebody, and the private chat with them."""
        self.people[person.id] = person
        self.chats[person.id] = Chat(person.id, "private", person.first_name)
        return person

    def add_group(self, chat: Chat) -> Chat:
        """A group that the bot is in."""
        self.chats[chat.id] = chat
        return chat

    def say(self, person: Person, chat_id: int | None = None, **fields: Any) -> dict[str, Any]:
        """Somebody writes; returns the update that the bot gets."""
        chat = self.chats[person.id if chat_id is None else chat_id]
        message_id = next(self._numbers)
        if isinstance(fields.get("text"), str) and fields["text"].startswith("/"):
            length = len(fields["text"].split()[0])
            fields.setdefault("entities", [{"type": "bot_command", "offset": 0, "length": length}])
        shown = Shown(message_id, chat, person, self.clock(), fields, [fields.get("text", "")])
        self.messages[chat.id, message_id] = shown
        self._note("said", shown)
        return self._update({"message": self.view(shown)})

    def press(self, person: Person, chat_id: int, message_id: int, data: str) -> dict[str, Any]:
        """Somebody presses a button of a message, or says so."""
        query_id = f"{next(self._numbers):018}"
        self._queries[query_id] = self.clock(), chat_id
        return self._update(
            {
                "callback_query": {
                    "id": query_id,
                    "from": person.user(),
                    "message": self.view(self.messages[chat_id, message_id]),
                    "chat_instance": str(chat_id),
                    "data": data,
                }
            }
        )

    def block(self, person: Person, *, blocked: bool = True) -> dict[str, Any]:
        """Somebody wants no more of the bot, or does again."""
        person.has_blocked = blocked
        status = "kicked" if blocked else "member"
        change = {
            "chat": self.chats[person.id].fields(),
            "from": person.user(),
            "date": int(self.clock()),
            "old_chat_member": {"user": self.bot, "status": "member" if blocked else "kicked"},
            "new_chat_member": {"user": self.bot, "status": status} | ({"until_date": 0} if blocked else {}),
        }
        return self._update({"my_chat_member": change})

    def give(
        self, person: Person, name: str, content: bytes, *, kind: str = "document", **fields: Any
    ) -> dict[str, Any]:
        """Somebody sends a file, a photo or a voice message; returns the update that the bot gets."""
        return self.say(person, **self.files.add(kind, name, content).fields(), **fields)

    # --- what the bot does ------------------------------------------------------------------------

    def send(self, fields: dict[str, Any], *, document: tuple[str, bytes] | None = None) -> dict[str, Any]:
        """sendMessage, sendDocument. Raises Refusal."""
        chat = self._chat(fields)
        thread = fields.get("message_thread_id")
        if thread is not None and (thread == GENERAL_TOPIC or thread not in chat.topics):
            raise refusal.THREAD_NOT_FOUND
        if "parse_mode" in fields:
            raise refusal.bad_request("can't parse entities: this emulator takes entities only")
        content: dict[str, Any] = {}
        if document is None:
            text, entities = accept_text(fields.get("text"), fields.get("entities"))
            content = {"text": text} | ({"entities": entities} if entities else {})
        else:
            if len(document[1]) > MAX_UPLOAD:
                raise refusal.Refusal(413, "Request Entity Too Large")
            content = self.files.add("document", *document).fields()
        keyboard = accept_keyboard(fields.get("reply_markup"))
        self.flood.admit(chat.id, self.clock())
        content |= {"reply_markup": keyboard} if keyboard else {}
        content |= {"message_thread_id": thread} if thread is not None else {}
        shown = Shown(next(self._numbers), chat, None, self.clock(), content, [content.get("text", "")])
        self.messages[chat.id, shown.id] = shown
        self._note("sent", shown)
        return self.view(shown)

    def edit(self, fields: dict[str, Any], *, text_too: bool) -> dict[str, Any]:
        """editMessageText, editMessageReplyMarkup. Raises Refusal."""
        chat = self._chat(fields)
        shown = self.messages.get((chat.id, fields.get("message_id", 0)))
        if shown is None or shown.deleted:
            raise refusal.EDIT_NOT_FOUND
        if shown.sender is not None or self.clock() - shown.at > EDITABLE_SECONDS:
            raise refusal.CANNOT_EDIT
        changed = {name: value for name, value in shown.fields.items() if name != "reply_markup"}
        if text_too:
            text, entities = accept_text(fields.get("text"), fields.get("entities"))
            changed.pop("entities", None)
            changed |= {"text": text} | ({"entities": entities} if entities else {})
        keyboard = accept_keyboard(fields.get("reply_markup"))
        changed |= {"reply_markup": keyboard} if keyboard else {}
        self.flood.admit(chat.id, self.clock())
        if changed == shown.fields:
            raise refusal.NOT_MODIFIED
        shown.fields = changed
        shown.versions.append(changed.get("text", ""))
        self._note("edited", shown)
        return self.view(shown)

    def delete(self, fields: dict[str, Any]) -> bool:
        """deleteMessage. Raises Refusal."""
        shown = self.messages.get((self._chat(fields).id, fields.get("message_id", 0)))
        if shown is None or shown.deleted:
            raise refusal.bad_request("message to delete not found")
        shown.deleted = True
        self._note("deleted", shown)
        return True

    def act(self, fields: dict[str, Any]) -> bool:
        """sendChatAction. Raises Refusal."""
        chat = self._chat(fields)
        if fields.get("action") not in {"typing", "upload_document", "record_voice", "upload_photo"}:
            raise refusal.bad_request("wrong parameter action in request")
        self.transcript.append(Happened(self.clock(), "typing", chat.id))
        return True

    def answer_query(self, fields: dict[str, Any]) -> bool:
        """answerCallbackQuery. Raises Refusal."""
        asked, chat_id = self._queries.pop(str(fields.get("callback_query_id")), (-math.inf, 0))
        if self.clock() - asked > CALLBACK_SECONDS:
            raise refusal.OLD_QUERY
        text = str(fields.get("text") or "")
        if len(text) > 200:
            raise refusal.bad_request("MESSAGE_TOO_LONG")
        if text:
            self.transcript.append(Happened(self.clock(), "hint", chat_id, text=text))
        return True

    def list_commands(self, fields: dict[str, Any]) -> bool:
        """setMyCommands. Raises Refusal."""
        commands = fields.get("commands")
        if not isinstance(commands, list):
            raise refusal.bad_request("can't parse commands: expected an Array of BotCommand")
        for command in commands:
            if not _COMMAND.fullmatch(str(command.get("command", ""))):
                raise refusal.bad_request("BOT_COMMAND_INVALID")
            if not 1 <= len(str(command.get("description", ""))) <= 256:
                raise refusal.bad_request("BOT_COMMAND_DESCRIPTION_INVALID")
        self.commands[str(fields.get("language_code", ""))] = commands
        return True

    # --- what there is to see ---------------------------------------------------------------------

    def view(self, shown: Shown) -> dict[str, Any]:
        """A message as the Bot API gives it."""
        sender = self.bot if shown.sender is None else shown.sender.user()
        fields = dict(shown.fields)
        if fields.get("message_thread_id") in {*shown.chat.topics, GENERAL_TOPIC}:
            fields["is_topic_message"] = True
        return {
            "message_id": shown.id,
            "from": sender,
            "chat": shown.chat.fields(),
            "date": int(shown.at),
            **fields,
        }

    def from_bot(self, chat_id: int) -> list[Shown]:
        """What the bot said in a chat and is still there, in order."""
        return [
            shown
            for (chat, _), shown in sorted(self.messages.items())
            if chat == chat_id and shown.sender is None and not shown.deleted and not shown.hidden
        ]

    def clear(self, chat_id: int) -> None:
        """Somebody clears the history of a chat with the bot, for themselves."""
        for shown in self.from_bot(chat_id):
            shown.hidden = True

    def _chat(self, fields: dict[str, Any]) -> Chat:
        try:
            chat = self.chats[int(fields["chat_id"])]
        except (KeyError, TypeError, ValueError):
            raise refusal.CHAT_NOT_FOUND from None
        if chat.moved_to is not None:
            raise refusal.Refusal(
                400,
                "Bad Request: group chat was upgraded to a supergroup chat",
                {"migrate_to_chat_id": chat.moved_to},
            )
        person = self.people.get(chat.id)
        if person is not None and person.has_blocked:
            raise refusal.BLOCKED
        return chat

    def _update(self, fields: dict[str, Any]) -> dict[str, Any]:
        update = {"update_id": next(self._update_ids), **fields}
        self.updates.append(update)
        return update

    def _note(self, what: str, shown: Shown) -> None:
        self.transcript.append(Happened(self.clock(), what, shown.chat.id, shown.id, shown.versions[-1]))
