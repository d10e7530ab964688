"""Whether a rule names somebody."""

from __future__ import annotations

from collections.abc import Collection

from mail_service.deciding.facts import EVERYBODY
from mail_service.letters import Address


def is_named(sender: Address, rules: Collection[str]) -> bool:
    """By address or by domain; ``*`` names nobody in particular."""
    return any(_matches(sender, rule.strip().lower()) for rule in rules)


def names_everybody(rules: Collection[str]) -> bool:
    """Whether there is a ``*``."""
    return any(rule.strip() == EVERYBODY for rule in rules)


def _matches(sender: Address, rule: str) -> bool:
    if not rule or rule == EVERYBODY:
        return False
    if rule.startswith("."):
        return sender.domain.endswith(rule)
    if rule.rpartition("@")[0]:
        return sender.address == rule
    return sender.domain == rule.removeprefix("@")
