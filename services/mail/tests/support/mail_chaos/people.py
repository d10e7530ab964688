"""Who writes, and what: each mail about something else, since equal ones are not answered again."""

from __future__ import annotations

from dataclasses import dataclass, field
from email.message import EmailMessage

from mail_chaos.verdict import Written
from mail_servers import somebody

TOPICS = (
    "Combien de jours de congé payé ai-je par an ?",
    "Mon employeur peut-il changer mes horaires sans me prévenir ?",
    "Quel préavis faut-il respecter pour une démission en CDI ?",
    "Comment se calcule l'indemnité de licenciement économique ?",
    "La période d'essai d'un cadre peut-elle être renouvelée deux fois ?",
    "Puis-je refuser de travailler un dimanche dans un magasin ?",
    "Mes heures supplémentaires de mars ne figurent pas sur la fiche de paie.",
    "Ma convention collective prévoit-elle une prime d'ancienneté ?",
)


@dataclass
class People:
    """They write to one mailbox."""

    mailbox: str
    written: list[Written] = field(default_factory=list)
    _addresses: dict[int, str] = field(default_factory=dict)
    _before: dict[int, str] = field(default_factory=dict)

    @property
    def addresses(self) -> list[str]:
        """Of those who have written."""
        return list(self._addresses.values())

    def write(self, person: int, *, goes_on: bool) -> bytes:
        """One mail, as it comes in."""
        address = self._addresses.setdefault(person, somebody())
        number = len(self.written)
        message_id = f"<{number}.{address}>"
        mail = EmailMessage()
        mail["Authentication-Results"] = "mx.example.test; dkim=pass header.d=people.test"
        mail["From"] = f"Anne Martin <{address}>"
        mail["To"] = self.mailbox
        mail["Subject"] = f"Question {number}"
        mail["Message-ID"] = message_id
        mail["Date"] = "Sat, 21 Nov 2026 20:00:00 +0100"
        if goes_on and person in self._before:
            mail["References"] = mail["In-Reply-To"] = self._before[person]
        mail.set_content(TOPICS[number % len(TOPICS)])
        self._before[person] = message_id
        self.written.append(Written(message_id, address))
        return mail.as_bytes().replace(b"\n", b"\r\n")
