"""People who write mails to the suite, through the ports of its mail server."""

from __future__ import annotations

import email
import email.utils
import imaplib
import smtplib
import ssl
import time
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

from tests.deploy.suite.installation import GATEWAY

ADDRESS = "neo@neo.test"
PASSWORD = "open-sesame"
"""Of all mailboxes."""
PEOPLE = 2000
PATIENCE = 240.0
"""Seconds."""
PAUSE = 1.0
SETTINGS = {
    "EMAIL_ADDRESS": ADDRESS,
    "EMAIL_PASSWORD": PASSWORD,
    "IMAP_HOST": "mail.neo.test",
    "CA_FILE": "/trusted.pem",
    "AUTHSERV_ID": "mail.neo.test",
    "MAX_EMAILS_PER_HOUR": "10000",
    "MAILSERVER_ADDRESS": f"{GATEWAY}:",
}

SCANNERS = {"RSPAMD_URL": "http://rspamd:11333", "CLAMD_ADDRESS": "clamav"}


def person(number: int) -> str:
    """Somebody's address."""
    return f"anne{number}@people.test"


def write_accounts(site: Path) -> None:
    """As docker-mailserver's own `setup email add` writes them."""
    accounts = [ADDRESS, *(person(number) for number in range(PEOPLE))]
    file = site / "deploy" / "mailserver" / "postfix-accounts.cf"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{address}|{{PLAIN}}{PASSWORD}\n" for address in accounts))


class PostOffice:
    """Sends as another server would, and looks into people's mailboxes."""

    def __init__(self, trusted: Path, host: str = GATEWAY, smtp_port: int = 25, imap_port: int = 993) -> None:
        self._host, self._smtp_port, self._imap_port = host, smtp_port, imap_port
        self._context = ssl.create_default_context(cafile=str(trusted))
        # Reached by its address: its name is known to the containers only.
        self._context.check_hostname = False

    def send(self, number: int, text: str, attachment: bytes = b"") -> None:
        """Somebody writes. What the server has not taken is handed over again, as every server does."""
        mail = EmailMessage()
        mail["From"] = f"Anne Martin <{person(number)}>"
        mail["To"] = ADDRESS
        mail["Subject"] = f"Une question ({number})"
        mail["Message-ID"] = f"<{number}.{time.time_ns()}@people.test>"
        mail["Date"] = email.utils.localtime()
        # As the mail server writes it on top, which the stand-in does not.
        mail["Authentication-Results"] = f"mail.neo.test; spf=pass smtp.mailfrom={person(number)}"
        mail.set_content(text)
        if attachment:
            mail.add_attachment(attachment, "application", "octet-stream", filename="file.bin")
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with smtplib.SMTP(self._host, self._smtp_port, timeout=10) as smtp:
                    smtp.send_message(mail, person(number), [ADDRESS])
            except (OSError, smtplib.SMTPException):
                assert time.monotonic() < deadline, "the mail server takes no mail"
                time.sleep(PAUSE)
            else:
                return

    def answers(self, number: int) -> list[EmailMessage]:
        """What lies in somebody's inbox, each Message-ID once.

        Raises OSError and imaplib.IMAP4.error while the server is away.
        """
        with imaplib.IMAP4_SSL(self._host, self._imap_port, ssl_context=self._context, timeout=10) as client:
            client.login(person(number), PASSWORD)
            client.select("INBOX", readonly=True)
            _, (numbers, *_) = client.search(None, "ALL")
            found: dict[str, EmailMessage] = {}
            for one in numbers.split():
                _, answer = client.fetch(one.decode(), "(BODY.PEEK[])")
                assert isinstance(answer[0], tuple)
                mail = email.message_from_bytes(answer[0][1], policy=default)
                found[str(mail["Message-ID"])] = mail
        return list(found.values())

    def until(self, number: int, count: int = 1) -> list[EmailMessage]:
        """The answers, when there are so many."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                found = self.answers(number)
            except (OSError, imaplib.IMAP4.error):
                found = []
            if len(found) >= count:
                return found
            assert time.monotonic() < deadline, f"{person(number)} got {len(found)} answers"
            time.sleep(PAUSE)
