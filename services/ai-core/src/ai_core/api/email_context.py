"""What callers know of a mail that is to be answered."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from ai_core.api.json_body import JsonObject
from ai_core.inference.email import EarlierMail, Email, Language

MAX_EARLIER = 100
MAX_MAIL = 200_000


def _as_object(value: Any) -> Any:
    return {"content": value} if isinstance(value, str) else value


class _OrText:
    """Says in the description that a text stands for the object."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> Any:
        """What pydantic asks for."""
        return {"anyOf": [handler(schema), {"type": "string", "maxLength": MAX_MAIL}]}


class PreviousMessage(JsonObject):
    """A mail of the same thread; a text alone stands for its content."""

    content: Annotated[str, Field(max_length=MAX_MAIL)]
    sender: Annotated[str, Field(max_length=320)] | None = None


class EmailContext(JsonObject):
    """The mail itself is the newest message or the prompt. All of this is shown to the model as data."""

    sender: Annotated[str, Field(max_length=320)] | None = None
    subject: Annotated[str, Field(max_length=998)] | None = None
    thread_id: Annotated[str, Field(max_length=998)] | None = None
    """Not shown to the model; it comes back with the answer."""
    previous_messages: (
        Annotated[
            list[Annotated[PreviousMessage, BeforeValidator(_as_object), _OrText()]],
            Field(max_length=MAX_EARLIER, fail_fast=True),
        ]
        | None
    ) = None
    """The oldest first."""
    language: Language | None = None
    """Of the words around the data, and of a subject that has to be invented; that of the mail otherwise."""

    def email(self) -> Email:
        """The same as plain data."""
        return Email(
            sender=self.sender or "",
            subject=self.subject or "",
            earlier=[
                EarlierMail(earlier.content, earlier.sender or "") for earlier in self.previous_messages or ()
            ],
            language=self.language,
        )
