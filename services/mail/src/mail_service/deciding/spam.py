"""Signs of spam, for where no scanner is configured: each has its points, and their sum decides.

Written for a mailbox that is asked about labour law: whoever asks such a question has a credit of points, for
to lose a question is worse than to answer an advertisement. ``tests/deciding/test_spam.py`` measures it, on
mails for which the signs were written and on others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from mail_service.deciding.facts import Facts
from mail_service.deciding.spam_words import BRANDS, LAW, PHRASES
from mail_service.letters import Letter, Verdict

LONGEST = 5_000
"""Characters of a text that are looked at."""


class Sign(NamedTuple):
    """Something that speaks for spam, or with negative points against it."""

    name: str
    points: float


_PHRASES = tuple(
    (Sign(name, points), re.compile(words, re.IGNORECASE)) for name, (points, words) in PHRASES.items()
)
_BRANDS = re.compile(BRANDS, re.IGNORECASE)
_LAW = re.compile(LAW, re.IGNORECASE)
_SHORTENED = re.compile(
    r"https?://(?:bit\.ly|tinyurl\.com|t\.co|goo\.gl|is\.gd|ow\.ly|cutt\.ly)/", re.IGNORECASE
)
_LINK = re.compile(r"https?://\S+", re.IGNORECASE)
_WALLET = re.compile(r"\b(?:bc1[02-9ac-hj-np-z]{25,60}|[13][1-9A-HJ-NP-Za-km-z]{25,34})\b")
"""Where somebody wants bitcoins to be sent (BIP 173, and the form before it)."""
_FRAUD = re.compile(
    r"arnaque|escroquerie|hame[çc]onnage|phishing|\bscam\b|is (?:it|this) (?:real|genuine|legit)",
    re.IGNORECASE,
)
_NUMERIC = re.compile(r"https?://\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b")
_CHEAP = (
    *(
        ".top",
        ".xyz",
        ".click",
        ".site",
        ".club",
        ".shop",
        ".online",
        ".info",
        ".biz",
        ".bet",
        ".live",
        ".work",
    ),
    *(".su", ".ru", ".cn", ".agency", ".icu", ".cc"),
)
"""Endings under which hardly anybody who asks has an address; a point and a half, no more."""
_MAILER = re.compile(r"mailchimp|sendinblue|brevo|mailjet|sendgrid|campaign|bulk|mass", re.IGNORECASE)
_CAMPAIGN = ("feedback-id", "x-csa-complaints", "x-campaign", "x-campaignid", "x-mailgun-tag", "x-mc-user")
_FREE_MAIL = frozenset({"gmail.com", "outlook.com", "yahoo.com", "yandex.com", "mail.ru", "hotmail.com"})


def score(letter: Letter, facts: Facts) -> float:
    """The sum of the signs' points; from ``Rules.spam_score`` on it is spam."""
    return sum(sign.points for sign in signs(letter, facts))


def signs(letter: Letter, facts: Facts) -> tuple[Sign, ...]:
    """All that was found, in a fixed order."""
    text = f"{letter.subject}\n{letter.text[:LONGEST]}"
    phrases = [sign for sign, pattern in _PHRASES if pattern.search(text)]
    return (
        *phrases,
        *_of_headers(letter),
        *_of_shape(letter, text),
        *_of_facts(facts),
        *_credit(letter, facts),
    )


def _of_headers(letter: Letter) -> Iterator[Sign]:
    assert letter.sender is not None
    domain = letter.sender.domain
    # A name that only begins like the brand's, as ``brand-delivery.example``, is anybody's.
    if (brand := _BRANDS.search(letter.sender.name)) and _bare(brand[0]) not in map(_bare, domain.split(".")):
        yield Sign("brand", 3.0)
    elif brand and domain.endswith(_CHEAP):
        yield Sign("brand", 2.0)
    if domain.endswith(_CHEAP):
        yield Sign("cheap_domain", 1.5)
    if any(letter.header(name) is not None for name in _CAMPAIGN):
        yield Sign("campaign", 3.0)
    if _MAILER.search(letter.header("x-mailer") or ""):
        yield Sign("mass_mailer", 2.0)
    reply_to = letter.reply_to
    if reply_to is not None and reply_to.domain != domain and reply_to.domain in _FREE_MAIL:
        yield Sign("reply_elsewhere", 1.5)
    if letter.header("message-id") is None:
        yield Sign("no_message_id", 0.5)
    if letter.header("date") is None:
        yield Sign("no_date", 0.5)


def _of_shape(letter: Letter, text: str) -> Iterator[Sign]:
    words = len(letter.text[:LONGEST].split())
    if _SHORTENED.search(text):
        yield Sign("short_link", 2.5)
    if _NUMERIC.search(text):
        yield Sign("numeric_link", 2.5)
    if letter.links and words <= 3:
        yield Sign("only_link", 3.0)
    elif letter.links and words / letter.links < 40:
        yield Sign("links", 1.5)
    if _WALLET.search(text):
        yield Sign("wallet", 3.0)
    if re.search(r"\$\$|€€|[!]{3}.{0,200}[!]{3}", text, re.DOTALL):
        yield Sign("shouting", 1.0)
    if any(ord(character) >= 0x1F300 for character in letter.subject):
        yield Sign("emoji_subject", 1.0)


def _of_facts(facts: Facts) -> Iterator[Sign]:
    if facts.breaks_policy:
        yield Sign("breaks_policy", 2.0)
    if facts.mails_of_sender >= 20:
        yield Sign("many_mails", 2.5)
    elif facts.mails_of_sender >= 8:
        yield Sign("many_mails", 1.0)


def _credit(letter: Letter, facts: Facts) -> Iterator[Sign]:
    found = {match.lower() for match in _LAW.findall(f"{letter.subject}\n{letter.text[:LONGEST]}")}
    asks = "?" in _LINK.sub(" ", letter.text[:LONGEST])
    if found:
        yield Sign("labour_law", -2.0 if len(found) == 1 else -3.0)
    if asks:
        yield Sign("asks", -1.0)
    elif letter.links and not found:
        yield Sign("asks_nothing", 1.0)
    if asks and _FRAUD.search(letter.text[:LONGEST]):
        # They quote what they were sent.
        yield Sign("asks_about_fraud", -3.0)
    if facts.answers_ours:
        yield Sign("answers_ours", -5.0)
    if facts.verdict is Verdict.ALIGNED:
        yield Sign("authenticated", -0.5)


def _bare(text: str) -> str:
    return re.sub(r"[^a-z]", "", text.lower())
