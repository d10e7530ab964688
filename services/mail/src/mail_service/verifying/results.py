"""What the receiving server found (RFC 8601): believed only from the server that the operator named, and only
in the topmost header, since every sender can write one."""

from __future__ import annotations

import re

import authres

from mail_service.letters import Letter, Verdict
from mail_service.verifying.alignment import is_aligned

LONGEST = 4_000
"""Characters."""
_ASKS_FOR_NOTHING = re.compile(
    r"\bdmarc\s{0,5}=\s{0,5}fail\b[^;]{0,300}\b(?:p|policy|policy\.dmarc|action)\s{0,5}=\s{0,5}none\b",
    re.IGNORECASE,
)
"""The domain only watches (p=none): mail that forwarders broke is not forged. Servers say it each in their
way, mostly in a comment."""


def verdict_of(letter: Letter, authserv_id: str | None) -> Verdict:
    """What that server says of the sender's domain."""
    value = letter.header("authentication-results")
    if authserv_id is None or value is None or letter.sender is None or len(value) > LONGEST:
        return Verdict.UNKNOWN
    try:
        header = authres.AuthenticationResultsHeader.parse_value(value)
    except (authres.AuthResError, ValueError, IndexError, RecursionError):
        return Verdict.UNKNOWN
    if (header.authserv_id or "").lower() != authserv_id.lower():
        return Verdict.UNKNOWN
    found = [(each.method.lower(), (each.result or "").lower(), _domains(each)) for each in header.results]
    judged = _judged(letter.sender.domain, found)
    return Verdict.UNKNOWN if judged is Verdict.FAILED and _ASKS_FOR_NOTHING.search(value) else judged


def _judged(domain: str, found: list[tuple[str, str, dict[str, str]]]) -> Verdict:
    for method, result, domains in found:
        if method == "dmarc" and domains.get("header.from", domain) == domain:
            if result == "pass":
                return Verdict.ALIGNED
            if result == "fail":
                return Verdict.FAILED
    passed = (domains for method, result, domains in found if method in {"dkim", "spf"} and result == "pass")
    names = ("header.d", "header.i", "smtp.mailfrom")
    vouching = [domains[name] for domains in passed for name in names if domains.get(name)]
    return Verdict.ALIGNED if any(is_aligned(each, domain) for each in vouching) else Verdict.UNKNOWN


def _domains(result: authres.AuthenticationResult) -> dict[str, str]:
    return {
        f"{each.type}.{each.name}".lower(): str(each.value).rpartition("@")[2].lower().strip()
        for each in getattr(result, "properties", ())
    }
