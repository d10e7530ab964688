"""What was decided about a mail in one word, as it is stored, shown to the operator, and counted. Pure."""

from __future__ import annotations

from mail_service.deciding.decisions import Answer, Bury, Hold, Ignore, Note, Outcome, Reason, Request, Serve

AS_WRITTEN = "verdict"
"""The name under which what is known of the sender stands among the rules."""
HEAD, PROVEN = "subject and reply-to", "proven"
"""The same for whether they are the sender's."""
_ANSWER, _SERVE, _HOLD, _IGNORE, _BURY = "answer", "serve", "hold", "ignore", "bury"

OVER_LIMIT = f"held: {Reason.HOURLY_LIMIT.value}"
"""Why a mail waits that is more than is answered within an hour."""


def told(outcome: Outcome) -> str:
    """As ``ignore: spam``."""
    match outcome:
        case Answer(note):
            return _ANSWER if note is None else f"{_ANSWER}: {note.value}"
        case Serve(request):
            return f"{_SERVE}: {request.value}"
        case Ignore(reason):
            return f"{_IGNORE}: {reason.value}"
        case Hold(reason):
            return f"{_HOLD}: {reason.value}"
        case Bury(reason):
            return f"{_BURY}: {reason.value}"


def outcome_of(word: str) -> Answer | Serve | None:
    """What was decided to be done, from its word; None: nothing, or not yet."""
    kind, _, what = word.partition(": ")
    if kind == _ANSWER:
        return Answer(Note(what) if what else None)
    return Serve(Request(what)) if kind == _SERVE else None
