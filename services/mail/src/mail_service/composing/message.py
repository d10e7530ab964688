"""The bytes of a mail. ``email.message.EmailMessage`` builds it, and refuses a line break in any header."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.errors import MessageError
from email.headerregistry import Address as HeaderAddress
from email.headerregistry import HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP, EmailPolicy
from email.utils import format_datetime
from typing import Any

from mail_service.composing.brand import Logo
from mail_service.composing.guard import inspect
from mail_service.composing.letterhead import LOGO_ID, Sheet
from mail_service.composing.signing import Signer
from mail_service.composing.subjects import one_line
from mail_service.letters import Address
from mail_service.sending.port import OutgoingMail

MAX_NAME_CHARACTERS = 100


class CannotCompose(Exception):
    """Such a mail cannot be written; the text holds nothing that people wrote."""


@dataclass(frozen=True, slots=True)
class Enclosed:
    """A JSON file that goes with a mail."""

    name: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """Who is told what, and in which thread."""

    sender: Address
    """One of ours."""
    envelope_sender: str
    recipient: Address
    subject: str
    message_id: str
    in_reply_to: str | None
    references: Sequence[str]
    date: datetime


class _MessageIds(UnstructuredHeader):
    """``References`` and ``In-Reply-To``: broken between Message-IDs and nowhere else, which the standard
    library would encode where one is longer than a line."""

    def fold(self: Any, *, policy: EmailPolicy) -> str:
        return f"{self.name}: {(policy.linesep + ' ').join(self.split())}{policy.linesep}"


def _policy() -> EmailPolicy[EmailMessage]:
    registry = HeaderRegistry()
    for name in ("references", "in-reply-to"):
        registry.map_to_type(name, _MessageIds)  # type: ignore[arg-type] # as the standard library does
    return SMTP.clone(header_factory=registry)


class Composer:
    """Writes the mails that go out. Every one is looked at again before it is handed over."""

    def __init__(self, *, logo: Logo | None = None, signer: Signer | None = None) -> None:
        self._logo = logo
        self._signer = signer
        self._policy = _policy()

    def compose(self, envelope: Envelope, sheet: Sheet, enclosed: Enclosed | None = None) -> OutgoingMail:
        """The whole mail. Raises CannotCompose, GuardFailed."""
        message = EmailMessage(policy=self._policy)
        try:
            self._write_headers(message, envelope)
            self._write_body(message, sheet, enclosed)
            content = message.as_bytes()
        except (ValueError, LookupError, TypeError, MessageError) as error:
            # What stands in the error may be an address.
            raise CannotCompose(f"the mail cannot be written ({type(error).__name__})") from None
        if self._signer is not None:
            content = self._signer.sign(content)
        mail = OutgoingMail(envelope.envelope_sender, envelope.recipient.address, content)
        inspect(mail, sender=envelope.sender.address, recipient=envelope.recipient.address)
        return mail

    @staticmethod
    def _write_headers(message: EmailMessage, envelope: Envelope) -> None:
        message["From"] = _header_address(envelope.sender)
        message["To"] = _header_address(envelope.recipient)
        message["Subject"] = envelope.subject
        message["Date"] = format_datetime(envelope.date)
        message["Message-ID"] = envelope.message_id
        if envelope.in_reply_to is not None:
            message["In-Reply-To"] = envelope.in_reply_to
        if envelope.references:
            message["References"] = " ".join(envelope.references)
        # RFC 3834, section 5; and what Exchange understands (MS-OXCMAIL, 2.2.3.2.14).
        message["Auto-Submitted"] = "auto-replied"
        message["X-Auto-Response-Suppress"] = "All"

    def _write_body(self, message: EmailMessage, sheet: Sheet, enclosed: Enclosed | None) -> None:
        # In this form no server has to change it, which would break a signature.
        message.set_content(sheet.text, cte="quoted-printable")
        message.add_alternative(sheet.html, subtype="html", cte="quoted-printable")
        if self._logo is not None:
            html = message.get_payload()[1]  # type: ignore[index]
            html.add_related(  # type: ignore[union-attr]
                self._logo.content, "image", self._logo.subtype, cid=f"<{LOGO_ID}>", disposition="inline"
            )
        if enclosed is not None:
            message.add_attachment(enclosed.content, "application", "json", filename=enclosed.name)


def _header_address(address: Address) -> HeaderAddress:
    if not address.address.isascii():
        raise ValueError("an address beyond ASCII needs SMTPUTF8")
    return HeaderAddress(one_line(address.name, MAX_NAME_CHARACTERS), addr_spec=address.address)
