"""What may stand in a message: texts, entities, keyboards. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from tests.emulators.telegram.refusal import BUTTON_DATA, EMPTY, TOO_LONG, bad_request

MAX_TEXT = 4096
MAX_CAPTION = 1024
MAX_ENTITIES = 100
NESTING = {"bold", "italic", "underline", "strikethrough", "spoiler"}
"""May contain each other and be part of others, but of code."""
QUOTES = {"blockquote", "expandable_blockquote"}
VERBATIM = {"code", "pre"}
TYPES = NESTING | QUOTES | VERBATIM | {"text_link", "text_mention", "custom_emoji"}


def units(text: str) -> int:
    """UTF-16 code units."""
    return len(text.encode("utf-16-le")) // 2


def accept_text(text: object, entities: object, *, most: int = MAX_TEXT) -> tuple[str, list[dict[str, Any]]]:
    """A text as a chat shows it, and its entities there. Raises Refusal."""
    if not isinstance(text, str) or not text.strip():
        raise EMPTY
    try:
        text.encode()
    except UnicodeEncodeError:
        raise bad_request("strings must be encoded in UTF-8") from None
    if units(text) > most:
        raise TOO_LONG
    accepted = [_entity(text, entity) for entity in _list(entities)]
    if len(accepted) > MAX_ENTITIES:
        # The original forgets the rest in silence, which nobody would notice.
        raise bad_request(f"{len(accepted)} entities, of which only {MAX_ENTITIES} would be shown")
    _check_nesting(accepted)
    lead = units(text[: len(text) - len(text.lstrip())])
    return text.strip(), [entity | {"offset": entity["offset"] - lead} for entity in accepted]


def _list(entities: object) -> Sequence[Any]:
    if entities is None:
        return ()
    if not isinstance(entities, list):
        raise bad_request("can't parse entities: expected an Array of MessageEntity")
    return entities


def _entity(text: str, entity: Any) -> dict[str, Any]:
    if not isinstance(entity, Mapping):
        raise bad_request("can't parse entities: expected an Object")
    kind, offset, length = entity.get("type"), entity.get("offset"), entity.get("length")
    if kind not in TYPES:
        raise bad_request("can't parse entities: unsupported type of MessageEntity")
    if not isinstance(offset, int) or not isinstance(length, int) or offset < 0 or length <= 0:
        raise bad_request("can't parse entities: wrong offset or length")
    if offset + length > units(text):
        raise bad_request(f"entity beginning at UTF16 offset {offset} ends after the end of the text")
    encoded = text.encode("utf-16-le")
    try:
        encoded[2 * offset : 2 * (offset + length)].decode("utf-16-le")
    except UnicodeDecodeError:
        message = f"entity beginning at UTF16 offset {offset} ends in a middle of a UTF-16 symbol"
        raise bad_request(message) from None
    if kind == "text_link" and not _is_address(entity.get("url")):
        raise bad_request("can't parse entities: wrong HTTP URL specified")
    return dict(entity)


def _is_address(url: object) -> bool:
    if not isinstance(url, str) or " " in url:
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"http", "https", "tg"} and (parts.scheme == "tg" or "." in (parts.hostname or ""))


def _check_nesting(entities: Sequence[Mapping[str, Any]]) -> None:
    ordered = sorted(entities, key=lambda entity: (entity["offset"], -entity["length"]))
    for number, outer in enumerate(ordered):
        end = outer["offset"] + outer["length"]
        for inner in ordered[number + 1 :]:
            if inner["offset"] >= end:
                continue
            crosses = inner["offset"] + inner["length"] > end
            if crosses or not _may_contain(outer["type"], inner["type"]):
                message = f"entities {outer['type']} and {inner['type']} overlap at {inner['offset']}"
                raise bad_request(f"can't parse entities: {message}")


def _may_contain(outer: str, inner: str) -> bool:
    if outer in VERBATIM or (outer in QUOTES and inner in QUOTES):
        return False
    if outer in QUOTES:
        return True
    if outer in NESTING:
        return inner not in VERBATIM
    return inner in NESTING


def accept_keyboard(markup: object) -> dict[str, Any] | None:
    """An inline keyboard. Raises Refusal."""
    if markup is None:
        return None
    if not isinstance(markup, Mapping) or not isinstance(markup.get("inline_keyboard"), list):
        raise bad_request("object expected as reply markup")
    for row in markup["inline_keyboard"]:
        for button in row:
            if not button.get("text"):
                raise bad_request("text buttons are unallowed in the inline keyboard")
            data = button.get("callback_data")
            if data is not None and not 1 <= len(data.encode()) <= 64:
                raise BUTTON_DATA
            if data is None and "url" not in button:
                raise bad_request("text buttons are unallowed in the inline keyboard")
    return dict(markup)
