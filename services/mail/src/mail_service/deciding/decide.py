"""From a letter, what is known and the house's rules to what is done."""

from __future__ import annotations

from mail_service.deciding.decisions import Answer, Bury, Decision, Ignore, Reason, Step
from mail_service.deciding.facts import Facts
from mail_service.deciding.rules import Rules
from mail_service.letters import Letter, Remark


def decide(letter: Letter, facts: Facts, rules: Rules) -> Decision:
    """What becomes of this letter, with every rule that was asked on the way."""
    if letter.sender is None:
        outcome = Bury(Reason.NO_MAIL) if Remark.NO_MAIL in letter.remarks else Ignore(Reason.NO_SENDER)
        return Decision(outcome, (Step("sender", outcome.reason),))
    if letter.sender.address in rules.own_addresses or facts.is_ours:
        return Decision(Ignore(Reason.OWN_ADDRESS), (Step("own", Reason.OWN_ADDRESS),))
    if (letter.header("auto-submitted") or "no").lower() != "no":
        return Decision(Ignore(Reason.AUTO_SUBMITTED), (Step("auto_submitted", Reason.AUTO_SUBMITTED),))
    return Decision(Answer(), (Step("sender", "passed"),))
