"""Everything that speaks for or against a sender, put together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from mail_service.aside import aside
from mail_service.letters import Letter, Verdict
from mail_service.verifying.alignment import Policy, is_aligned, policy, policy_names
from mail_service.verifying.resolver import DnsAway, Resolver
from mail_service.verifying.results import findings_in
from mail_service.verifying.signatures import Signature, holds, is_ambiguous, vouching


@dataclass(frozen=True, slots=True)
class Proof:
    """What is known of who sent a letter: the first fields of ``deciding.facts.Facts``."""

    verdict: Verdict
    dns_away: bool = False
    breaks_policy: bool = False
    head_proven: bool = False


class Verifier:
    """Verifies letters.

    Args:
        authserv_id: of the receiving server, whose findings are believed; None: nobody's.
    """

    def __init__(self, resolver: Resolver, authserv_id: str | None) -> None:
        self._resolver = resolver
        self._authserv_id = authserv_id

    async def verify(self, raw: bytes, letter: Letter) -> Proof:
        """Who sent it, as far as can be said; name servers that are away are part of the answer."""
        found = await aside(len(raw), findings_in, letter, self._authserv_id)
        if letter.sender is None or found.verdict is Verdict.FAILED:
            return Proof(found.verdict)
        if found.verdict is Verdict.ALIGNED and is_ambiguous(letter):
            return Proof(Verdict.UNKNOWN)
        if found.by_path:
            return Proof(Verdict.ALIGNED, head_proven=True)
        own = await self._by_signatures(raw, letter, letter.sender.domain)
        if found.verdict is Verdict.ALIGNED:
            # That server does not say what was signed: a mail of theirs, sent on by a stranger with another
            # subject or a Reply-To, is as valid to it.
            return Proof(Verdict.ALIGNED, dns_away=own.dns_away, head_proven=own.head_proven)
        return own

    async def _by_signatures(self, raw: bytes, letter: Letter, domain: str) -> Proof:
        policies_at, signatures = await aside(len(raw), _what_to_ask, letter, domain)
        names = [*policies_at, *(each.key_name for each in signatures)]
        records = await asyncio.gather(*map(self._ask, names))
        away = None in records
        if away and not signatures:
            # Without a signature, no name server could make it better.
            return Proof(Verdict.UNKNOWN)
        policies = records[: len(policies_at)]
        found = policy([each or () for each in policies])
        for signature, keys in zip(signatures, records[len(policies) :], strict=True):
            if keys and await _vouches(raw, domain, signature, keys, found):
                return Proof(Verdict.ALIGNED, head_proven=True)
        if away:
            return Proof(Verdict.UNKNOWN, dns_away=True)
        return Proof(Verdict.UNKNOWN, breaks_policy=found is not None and found.wants_refusal)

    async def _ask(self, name: str) -> tuple[bytes, ...] | None:
        """None: no name server answers."""
        try:
            return await self._resolver.txt(name)
        except DnsAway:
            return None


def _what_to_ask(letter: Letter, domain: str) -> tuple[tuple[str, ...], tuple[Signature, ...]]:
    return policy_names(domain), vouching(letter)


async def _vouches(
    raw: bytes, domain: str, signature: Signature, keys: Sequence[bytes], found: Policy | None
) -> bool:
    strict = found is not None and found.is_strict
    if not is_aligned(signature.domain, domain, strict=strict):
        return False
    return await asyncio.to_thread(holds, raw, signature, keys)
