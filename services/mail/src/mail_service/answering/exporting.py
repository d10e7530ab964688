"""What stands in the payloads of entries, for people who want to have all that is kept of them."""

from __future__ import annotations

from typing import Any

from mail_service.answering.envelopes import CameIn, Envelopes, Incoming, Notice
from mail_service.reading import read
from servicekit.storage.sealing import Unreadable


class SealedPayloads:
    """Implements :class:`mail_service.keeping.Payloads`."""

    def __init__(self, envelopes: Envelopes) -> None:
        self._envelopes = envelopes

    def of_mail(self, payload: bytes) -> dict[str, Any]:
        came = self._opened(payload)
        if not isinstance(came, CameIn):
            return {}
        letter = read(came.raw)
        return {
            "quoted": letter.quoted,
            "signature": letter.signature,
            "files": [
                {"name": file.name, "type": file.content_type, "bytes": len(file.content)}
                for file in letter.attachments
            ],
        }

    def of_notice(self, payload: bytes) -> dict[str, Any]:
        notice = self._opened(payload)
        if not isinstance(notice, Notice):
            return {}
        return {
            "about": notice.which.value,
            "address": notice.address,
            "name": notice.name,
            "subject": notice.subject,
        }

    def _opened(self, payload: bytes) -> Incoming | None:
        """None: SECRET_KEY has changed since."""
        try:
            return self._envelopes.open_incoming(payload)
        except Unreadable:
            return None
