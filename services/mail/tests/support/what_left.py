"""What the service has sent, and to whom."""

from __future__ import annotations

from mail_servers import Dovecot

ONLY_HEADERS = {
    *(
        "from",
        "to",
        "subject",
        "date",
        "message-id",
        "in-reply-to",
        "references",
        "mime-version",
        "content-type",
    ),
    *(
        "auto-submitted",
        "x-auto-response-suppress",
        "content-language",
        "return-path",
        "delivered-to",
        "received",
    ),
}
"""Of a mail that has arrived."""


def mailboxes(dovecot: Dovecot) -> set[str]:
    """Everybody who has a mail."""
    folders = dovecot.maildir("x@people.test").parent.parent
    found = (path for path in folders.glob("*/*/new/*"))
    return {f"{path.parts[-3]}@{path.parts[-4]}" for path in found} | {
        f"{path.parts[-3]}@{path.parts[-4]}" for path in folders.glob("*/*/cur/*")
    }
