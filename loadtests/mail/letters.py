"""What people write, and what else lies in a mailbox. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Literal

PEOPLE = "people.test"
BLOCKED = "unwanted@elsewhere.test"
TOPICS = (
    "Combien de jours de congé payé ai-je par an ?",
    "Mon employeur peut-il changer mes horaires sans me prévenir ?",
    "Quel préavis faut-il respecter pour une démission en CDI ?",
    "Comment se calcule l'indemnité de licenciement économique ?",
    "La période d'essai d'un cadre peut-elle être renouvelée deux fois ?",
)
Kind = Literal["question", "newsletter", "automatic", "blocked", "old"]
MIX: tuple[Kind, ...] = (
    *("question", "newsletter", "newsletter", "newsletter", "automatic", "automatic", "automatic"),
    *("old", "old", "blocked"),
)
"""Of a mailbox that was never answered: a tenth are questions."""
FILLING = "Une phrase parmi beaucoup d'autres, comme il y en a dans les lettres d'information. " * 150


@dataclass(frozen=True, slots=True)
class Thread:
    """What one person writes in one thread, without waiting for answers."""

    sender: str
    message_ids: tuple[str, ...]


def thread(name: str, mails: int) -> Thread:
    """Of a person who is called so."""
    ids = tuple(f"<{number}.{name}@{PEOPLE}>" for number in range(mails))
    return Thread(f"{name}@{PEOPLE}", ids)


def question(of: Thread, number: int, recipient: str) -> EmailMessage:
    """The mail of a thread with this number, which refers to those before it."""
    mail = _begun(f"Anne Martin <{of.sender}>", recipient, of.message_ids[number])
    mail["Subject"] = "Une question" if number == 0 else "Re: Une question"
    if number:
        mail["In-Reply-To"] = of.message_ids[number - 1]
        mail["References"] = " ".join(of.message_ids[:number])
    # What the receiving server writes on top, in real life.
    mail["Authentication-Results"] = f"mx.example.test; spf=pass smtp.mailfrom={of.sender}"
    mail.set_content(f"{TOPICS[number % len(TOPICS)]}\n\nMerci d'avance.\n\nAnne Martin\n")
    return mail


def other(kind: Kind, number: int, recipient: str) -> EmailMessage:
    """A mail that is not to be answered, with a few pages of text."""
    sender = BLOCKED if kind == "blocked" else f"news{number}@elsewhere.test"
    mail = _begun(sender, recipient, f"<{number}.{kind}@elsewhere.test>")
    mail["Subject"] = f"Nouvelles n° {number}"
    if kind == "newsletter":
        mail["List-Id"] = "Nouvelles <news.elsewhere.test>"
        mail["List-Unsubscribe"] = "<https://elsewhere.test/fin>"
    elif kind == "automatic":
        mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(FILLING)
    return mail


def _begun(sender: str, recipient: str, message_id: str) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Message-ID"] = sender, recipient, message_id
    mail["Date"] = "Sat, 21 Nov 2026 20:00:00 +0100"
    return mail


def references_of(threads: Sequence[Thread]) -> dict[str, tuple[str, ...]]:
    """What the answer to each mail has to refer to, in order."""
    return {
        message_id: of.message_ids[: number + 1]
        for of in threads
        for number, message_id in enumerate(of.message_ids)
    }
