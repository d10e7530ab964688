"""Which domains belong together (RFC 7489, 3.1 and 3.2), and what a domain asks receivers to do (6.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from authheaders.dmarc_lookup import DMARCException, lookup_receiver_record
from publicsuffix2 import PublicSuffixList


@dataclass(frozen=True, slots=True)
class Policy:
    """What a domain publishes."""

    is_strict: bool = False
    """Only a signature of the very same domain counts."""
    wants_refusal: bool = False
    """Mail that fails is to be refused or put aside."""


def is_aligned(one: str, other: str, *, strict: bool = False) -> bool:
    """Whether two domains are of one organisation; if strict, whether they are the same."""
    one, other = one.lower().rstrip("."), other.lower().rstrip(".")
    return one == other or (not strict and organisation(one) == organisation(other))


def organisation(domain: str) -> str:
    """The organisational domain, by the public suffix list (RFC 7489, 3.2). The first call reads the list and
    takes up to a second: not for an event loop."""
    found = str(_suffixes().get_public_suffix(domain) or domain)
    if "." in found or "." not in domain:
        return found
    # Under an ending that the list does not know (``.lan``, ``.corp``), it calls the ending itself the
    # organisation, so that all below it would vouch for each other.
    return ".".join(domain.split(".")[-2:])


@cache
def _suffixes() -> PublicSuffixList:
    with (resources.files("authheaders") / "public_suffix_list.txt").open(encoding="utf-8") as file:
        return PublicSuffixList(file)


def policy_names(domain: str) -> tuple[str, ...]:
    """Where the policy may be published: the first that is, counts."""
    return tuple(dict.fromkeys((f"_dmarc.{domain}", f"_dmarc.{organisation(domain)}")))


def policy(records: Sequence[Sequence[bytes]]) -> Policy | None:
    """From the TXT records of ``policy_names``; None: the domain publishes none that can be understood."""
    for index, found in enumerate(records):
        texts = [record.decode("utf-8", "replace") for record in found if record.startswith(b"v=DMARC1")]
        # Two policies are none (RFC 7489, 6.6.3).
        text = texts[0][:2_000] if len(texts) == 1 else None
        try:
            tags = lookup_receiver_record("", dnsfunc=lambda _, text=text: text)
        except DMARCException:
            continue
        if tags.get("p"):
            wish = tags.get("sp", tags["p"]) if index else tags["p"]
            return Policy(tags.get("adkim") == "s", wish in {"quarantine", "reject"})
    return None
