"""What the receiving server found (RFC 8601): believed only from the server that the operator named, and only
in the topmost header, since every sender can write one."""

from __future__ import annotations

import re
from dataclasses import dataclass

import authres

from mail_service.letters import Letter, Verdict
from mail_service.verifying.alignment import is_aligned

LONGEST = 4_000
"""Characters."""
_PATH = ("spf", "pass")
_ASKS_FOR_NOTHING = re.compile(
    r"\bdmarc\s{0,5}=\s{0,5}fail\b[^;]{0,300}\b(?:p|policy|policy\.dmarc|action)\s{0,5}=\s{0,5}none\b",
    re.IGNORECASE,
)
"""The domain only watches (p=none): mail that forwarders broke is not forged. Servers say it each in their
way, mostly in a comment."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What that server says of the sender's domain."""

    verdict: Verdict = Verdict.UNKNOWN
    by_path: bool = False
    """It came straight from one of that domain's own servers (SPF), and was not sent on by a stranger."""


_Results = list[tuple[str, str, dict[str, str]]]


def findings_in(letter: Letter, authserv_id: str | None) -> Findings:
    """What that server says of the sender's domain, nothing where it did not speak."""
    value = letter.header("authentication-results")
    if authserv_id is None or value is None or letter.sender is None or len(value) > LONGEST:
        return Findings()
    try:
        header = authres.AuthenticationResultsHeader.parse_value(value)
    except (authres.AuthResError, ValueError, IndexError, RecursionError):
        return Findings()
    if (header.authserv_id or "").lower() != authserv_id.lower():
        return Findings()
    domain = letter.sender.domain
    found = [(each.method.lower(), (each.result or "").lower(), _domains(each)) for each in header.results]
    judged = _judged(domain, found)
    if judged is Verdict.FAILED and _ASKS_FOR_NOTHING.search(value):
        return Findings()
    return Findings(judged, judged is Verdict.ALIGNED and _came_straight(domain, found))


def _came_straight(domain: str, found: _Results) -> bool:
    paths = [domains.get("smtp.mailfrom") for method, result, domains in found if (method, result) == _PATH]
    return any(path and is_aligned(path, domain) for path in paths)


def _judged(domain: str, found: _Results) -> Verdict:
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
