"""Where the mail service's process ends itself."""

from __future__ import annotations

from chaos import points
from chaos.points import Around, Trace
from mail_service.intake import Intake
from mail_service.mailbox.imap import ImapMailbox
from mail_service.mailbox.wire import Connection
from mail_service.pausing import PausableJournal
from mail_service.sending.smtp import SmtpOutlet
from mail_service.storage.correspondence import Correspondence
from servicekit.ai_core.client import AiCore
from servicekit.journal.crew import Crew
from servicekit.journal.lane import HeldLane

AROUND: tuple[Around, ...] = (
    (Intake, "take", "before a mail is stored", "after a mail is stored"),
    (Connection, "mark", "before the mark", ""),
    (PausableJournal, "claim", "", "after the claim"),
    (HeldLane, "begin", "", "after the attempt is counted"),
    (AiCore, "generate", "before the AI core is asked", "after the AI core has answered"),
    (Correspondence, "answered", "", "after the history is written"),
    (HeldLane, "answer", "before the answer is stored", "after the answer is stored"),
    (HeldLane, "sending", "before sending is stored", "after sending is stored"),
    (SmtpOutlet, "send", "", "after the mail went out"),
    (HeldLane, "sent", "before sent is stored", "after sent is stored"),
    (HeldLane, "unsent", "", ""),
    (HeldLane, "unknown", "", ""),
    (HeldLane, "dropped", "", ""),
    (ImapMailbox, "keep", "before the copy", "after the copy"),
    (HeldLane, "finish", "before the entry is finished", "after the entry is finished"),
    (HeldLane, "put_off", "", "after it is put off"),
    (HeldLane, "release", "before the lane is released", ""),
    (Crew, "stop", "during the drain", ""),
)


def install(trace: Trace) -> None:
    """Around everything that matters, for the rest of this process's life."""
    points.install(AROUND, trace)
