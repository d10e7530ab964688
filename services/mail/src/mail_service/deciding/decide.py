"""From a letter, what is known, and the house's rules to what is done: rule after rule, and the first that
says something settles it."""

from __future__ import annotations

from collections.abc import Callable

from mail_service.deciding import loops, senders, spam
from mail_service.deciding.decisions import (
    Answer,
    Bury,
    Decision,
    Hold,
    Ignore,
    Note,
    Outcome,
    Reason,
    Serve,
    Step,
)
from mail_service.deciding.facts import Facts, Rules, Scan
from mail_service.deciding.likeness import says_little
from mail_service.deciding.requests import request_in
from mail_service.deciding.subjects import without_prefix
from mail_service.letters import Letter, Remark, Verdict

Rule = Callable[[Letter, Facts, Rules], Outcome | None]

_LISTS = ("list-id", "list-unsubscribe", "list-post", "list-help")
_BULK = frozenset({"bulk", "list", "junk"})
_NO_REPLY = (
    *("noreply", "no-reply", "no_reply", "nereply", "donotreply", "do-not-reply", "do_not_reply"),
    *("ne-pas-repondre", "nepasrepondre", "ne_pas_repondre", "notification"),
)
_FEW_WORDS = 3
_URGENT = {
    "x-priority": ("1", "2"),
    "importance": ("high",),
    "priority": ("urgent",),
    "x-msmail-priority": ("high",),
}


def decide(letter: Letter, facts: Facts, rules: Rules) -> Decision:
    """What becomes of this letter, with every rule that was asked on the way."""
    steps: list[Step] = []
    outcome: Outcome = Answer()
    for name, rule in _RULES:
        found = rule(letter, facts, rules)
        steps.append(Step(name, _said(found, letter, facts)))
        if found is not None:
            outcome = found
            break
    return Decision(outcome, tuple(steps), is_urgent(letter, rules))


def is_urgent(letter: Letter, rules: Rules) -> bool:
    """By its headers, or because the operator named its sender."""
    for name, words in _URGENT.items():
        if (letter.header(name) or "").strip().lower().startswith(words):
            return True
    return letter.sender is not None and senders.is_named(letter.sender, rules.urgent)


def is_shared(letter: Letter, own_addresses: frozenset[str]) -> bool:
    """Whether others got it as well, or it was not sent to us in the first place."""
    to = {address.address for address in letter.to}
    return not to & own_addresses or bool((to | {address.address for address in letter.cc}) - own_addresses)


def _said(outcome: Outcome | None, letter: Letter, facts: Facts) -> str:
    if outcome is None:
        return "passed"
    if isinstance(outcome, Answer):
        return "answer" if outcome.note is None else outcome.note.value
    if isinstance(outcome, Serve):
        return outcome.request.value
    if outcome.reason is Reason.SPAM and facts.spam is Scan.OFF:
        names = " ".join(sign.name for sign in spam.signs(letter, facts))
        return f"{outcome.reason.value}: {names}"
    return outcome.reason.value


def _readable(letter: Letter, facts: Facts, rules: Rules) -> Outcome | None:
    if facts.unreadable:
        return Bury(Reason.UNREADABLE)
    if Remark.NO_MAIL in letter.remarks:
        return Bury(Reason.NO_MAIL)
    return None


def _sender(letter: Letter, facts: Facts, rules: Rules) -> Outcome | None:
    if Remark.SEVERAL_AUTHORS in letter.remarks:
        return Ignore(Reason.SEVERAL_AUTHORS)
    return Ignore(Reason.NO_SENDER) if letter.sender is None else None


def _blocked(letter: Letter, facts: Facts, rules: Rules) -> Outcome | None:
    assert letter.sender is not None
    is_blocked = senders.is_named(letter.sender, rules.blocked) or senders.names_everybody(rules.blocked)
    return Ignore(Reason.BLOCKED) if is_blocked else None


def _bulk(letter: Letter, facts: Facts, rules: Rules) -> Outcome | None:
    reason = _bulk_reason(letter)
    if reason is None:
        return None
    assert letter.sender is not None
    if senders.is_named(letter.sender, rules.bulk_allowed):
        return _unless_proven(facts, rules, reason)
    return Ignore(reason)


def _bulk_reason(letter: Letter) -> Reason | None:
    if any(letter.header(name) is not None for name in _LISTS):
        return Reason.MAILING_LIST
    if (letter.header("precedence") or "").strip().lower() in _BULK:
        return Reason.BULK
    local = letter.sender.address.partition("@")[0] if letter.sender is not None else ""
    return Reason.NO_REPLY if local.startswith(_NO_REPLY) else None


def _allowed(letter: Letter, facts: Facts, rules: Rules) -> Outcome | None:
    if facts.verdict is Verdict.FAILED:
        return Ignore(Reason.FORGED)
    if senders.names_everybody(rules.allowed):
        return None
    assert letter.sender is not None
    if not senders.is_named(letter.sender, rules.allowed):
        return Ignore(Reason.NOT_ALLOWED)
    return _unless_proven(facts, rules, Reason.NOT_AUTHENTICATED)


def _unless_proven(facts: Facts, rules: Rules, reason: Reason) -> Outcome | None:
    """A name in ``From`` is only a claim."""
    if facts.verdict is Verdict.ALIGNED:
        return None
    if facts.dns_away and facts.verdict is Verdict.UNKNOWN and not _is_enough(facts, rules):
        return Hold(Reason.DNS_AWAY, facts.now + rules.look_again)
    return Ignore(reason)


def _virus(letter: Letter, facts: Facts, rules: Rules) -> Outcome | None:
    if facts.virus is Scan.AWAY:
        return _until_scanned(Reason.VIRUS_SCANNER_AWAY, facts, rules)
    return Ignore(Reason.INFECTED) if facts.virus is Scan.FOUND else None


def _spam(letter: Letter, facts: Facts, rules: Rules) -> Outcome | None:
    assert letter.sender is not None
    if facts.verdict is Verdict.ALIGNED and senders.is_named(letter.sender, rules.allowed):
        return None
    if facts.spam is Scan.AWAY:
        return _until_scanned(Reason.SPAM_SCANNER_AWAY, facts, rules)
    if facts.spam is Scan.OFF:
        return Ignore(Reason.SPAM) if spam.score(letter, facts) >= rules.spam_score else None
    return Ignore(Reason.SPAM) if facts.spam is Scan.FOUND else None


def _until_scanned(reason: Reason, facts: Facts, rules: Rules) -> Outcome:
    """A scanner may be away, or refuse this one mail each time."""
    return Bury(reason) if _is_enough(facts, rules) else Hold(reason, facts.now + rules.look_again)


def _is_enough(facts: Facts, rules: Rules) -> bool:
    """Whether it has waited for others as long as anything does."""
    return facts.waited >= rules.give_up_after


def _limits(letter: Letter, facts: Facts, rules: Rules) -> Outcome | None:
    if facts.free_at is None or facts.free_at <= facts.now:
        return None
    return Hold(Reason.HOURLY_LIMIT, facts.free_at, tell_sender=not facts.told_today)


def _own_data(letter: Letter, facts: Facts, rules: Rules) -> Outcome | None:
    request = request_in(letter.subject)
    if request is None or _is_reaction(letter, facts):
        return None
    if facts.verdict is Verdict.ALIGNED and facts.head_proven:
        return Serve(request)
    if facts.dns_away and not _is_enough(facts, rules):
        return Hold(Reason.DNS_AWAY, facts.now + rules.look_again)
    return Answer(Note.NOT_PROVEN)


def _is_reaction(letter: Letter, facts: Facts) -> bool:
    """Whoever answers us, a responder without any header as well, does it under our subject: then the
    subject asks for nothing."""
    is_answer = without_prefix(letter.subject) != letter.subject.strip()
    return is_answer and (facts.answers_ours or not says_little(letter))


def _content(letter: Letter, facts: Facts, rules: Rules) -> Outcome:
    """Whether a model has something to answer."""
    if facts.too_large or letter.size > rules.largest:
        return Answer(Note.TOO_LARGE)
    if letter.text.strip():
        is_sealed = Remark.ENCRYPTED in letter.remarks and "-----BEGIN PGP MESSAGE-----" in letter.text
        return Answer(Note.ENCRYPTED if is_sealed else None)
    if Remark.ENCRYPTED in letter.remarks:
        return Answer(Note.ENCRYPTED)
    if Remark.CALENDAR in letter.remarks:
        return Answer(Note.INVITATION)
    says_something = letter.quoted.strip() or letter.attachments or len(letter.subject.split()) >= _FEW_WORDS
    return Answer(None if says_something else Note.EMPTY)


_RULES: tuple[tuple[str, Rule], ...] = (
    ("readable", _readable),
    ("sender", _sender),
    ("blocked", _blocked),
    ("own", loops.own),
    ("automatic", loops.automatic),
    ("return_path", loops.return_path),
    ("responder", loops.responder),
    ("repetition", loops.repetition),
    ("bulk", _bulk),
    ("allowed", _allowed),
    ("virus", _virus),
    ("spam", _spam),
    ("limits", _limits),
    ("own_data", _own_data),
    ("content", _content),
)
