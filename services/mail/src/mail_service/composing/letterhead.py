"""The answer on the sheet: as HTML and as plain text, from the templates beside this module."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from mail_service.composing import markdown
from mail_service.composing.brand import Brand
from mail_service.composing.words import words
from mail_service.language import Language

LOGO_ID = "logo@neo"
MAX_QUOTED_CHARACTERS = 20_000
MAX_NAME_CHARACTERS = 100
_SHOWN_OF_THREAD = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What an answer says. All but ``ai_response`` is shown as it stands, as text."""

    ai_response: str
    """Markdown."""
    language: Language
    subject: str
    sender_name: str = ""
    """Of whoever is answered; empty: they are greeted without a name."""
    sender_address: str = ""
    original_subject: str = ""
    original_date: datetime | None = None
    original_text: str = ""
    """What they wrote, to be quoted; may be empty."""
    response_date: datetime
    thread_id: str = ""


@dataclass(frozen=True, slots=True)
class Sheet:
    """An answer in both forms."""

    html: str
    text: str


class Letterhead:
    """Writes answers in a brand."""

    def __init__(self, brand: Brand, *, has_logo: bool = False) -> None:
        self._brand = brand
        self._logo_id = LOGO_ID if has_logo else ""
        loader = PackageLoader("mail_service.composing")
        options = {"undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
        self._html = Environment(loader=loader, autoescape=True, **options)  # type: ignore[arg-type]
        self._html.filters["lines"] = _lines
        # Plain text has nothing to escape.
        self._text = Environment(loader=loader, autoescape=False, **options)  # type: ignore[arg-type]  # noqa: S701
        self._text.filters["quoting"] = _quoting

    def write(self, content: Content) -> Sheet:
        """The sheet."""
        name = content.sender_name[:MAX_NAME_CHARACTERS]
        values = {
            "brand": self._brand,
            "foot": self._brand.foot(content.language),
            "language": content.language.value,
            "subject": content.subject,
            "sender_name": name,
            "original_subject": content.original_subject,
            "response_date": content.response_date,
            "thread_id": content.thread_id[:_SHOWN_OF_THREAD],
            "quoted": _cut(content.original_text),
            "words": words(
                content.language,
                name=name,
                # In the time of this machine (TZ).
                answered=content.response_date.astimezone(),
                written=content.original_date.astimezone() if content.original_date is not None else None,
                quoted_name=name or content.sender_address,
            ),
        }
        # It has been through nh3: the one value that templates may show as HTML.
        response = Markup(markdown.to_html(content.ai_response, self._brand.light))  # noqa: S704
        html = self._html.get_template("letter.html.j2").render(
            values | {"ai_response": response, "logo_id": self._logo_id}
        )
        text = self._text.get_template("letter.txt.j2").render(
            values | {"ai_response": markdown.to_text(content.ai_response)}
        )
        return Sheet(html, text.strip() + "\n")


def _cut(text: str) -> str:
    kept = text.strip()
    return kept if len(kept) <= MAX_QUOTED_CHARACTERS else kept[:MAX_QUOTED_CHARACTERS] + "\n[…]"


def _lines(text: str) -> Markup:
    return Markup("<br>\n").join(escape(line) for line in text.split("\n"))


def _quoting(text: str) -> str:
    """As RFC 3676, section 4.5, quotes."""
    return "\n".join(
        f">{line}" if line.startswith(">") else f"> {line}".rstrip() for line in text.split("\n")
    )
