"""Which DNS records an installation needs, and what an answer to a question for one means. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address

MAILSERVER_SELECTOR = "mail"
"""docker-mailserver's, for both of its ways to sign."""
AUTHORITY = "letsencrypt.org"

Settings = Mapping[str, str]


class State(Enum):
    """Of a record."""

    SET = "set"
    MISSING = "missing"
    DIFFERS = "differs"
    UNKNOWN = "no answer"
    OPTIONAL = "not set, and need not be"


@dataclass(frozen=True)
class Record:
    """One that is wanted."""

    name: str
    kind: str
    """As DNS has it: A, MX, TXT, CAA, PTR."""
    value: str
    """Empty: it is not ours to say."""
    why: str
    prefix: str = ""
    """Of the texts that are meant, where several live under one name: ``v=spf1``."""
    among: tuple[str, ...] = ()
    """What else may stand beside it."""
    optional: bool = False


@dataclass(frozen=True)
class Finding:
    """What became of a question."""

    record: Record
    state: State
    found: Sequence[str]


def wanted(settings: Settings, addresses: Sequence[str], dkim: str) -> list[Record]:
    """The records for an installation.

    Args:
        settings: those of .env, defaults left out.
        addresses: of this machine, as strangers reach it: of IPv4, by which alone nginx is published.
        dkim: the text of the DKIM record; empty: there is no key yet.
    """
    profiles = settings.get("COMPOSE_PROFILES", "").split(",")
    hosts = [settings.get("AI_DOMAIN", "")]
    hosts += [settings.get(f"{name.upper()}_DOMAIN", "") for name in ("telegram", "mail") if name in profiles]
    hosts += [settings.get("MAIL_DOMAIN", "")] if "mailserver" in profiles else []
    served = [host for host in dict.fromkeys(hosts) if host and not host.endswith("localhost")]
    # Behind a CDN, names lead there.
    hidden = bool(settings.get("CDN_TRUSTED_RANGES"))
    records = [
        Record(host, "A", "" if hidden else address, "leads to this machine", among=tuple(addresses))
        for host in served
        for address in addresses
    ]
    if "acme" in profiles:
        value = f'0 issue "{AUTHORITY}"'
        records += [
            Record(host, "CAA", value, "who may issue certificates", optional=True) for host in served
        ]
    domain = mail_domain(settings)
    if domain and ("mail" in profiles or "mailserver" in profiles):
        records += _for_mail(settings, domain, addresses, dkim, own_server="mailserver" in profiles)
    return records


def mail_domain(settings: Settings) -> str:
    """The part of the mailbox's address behind the @."""
    _, _, domain = settings.get("EMAIL_ADDRESS", "").partition("@")
    return settings.get("EMAIL_DOMAIN") or domain


def selector_of(settings: Settings) -> str:
    """Under which the DKIM key is published."""
    return settings.get("DKIM_SELECTOR") or ("neo" if settings.get("DKIM_KEY_PATH") else MAILSERVER_SELECTOR)


def _for_mail(
    settings: Settings, domain: str, addresses: Sequence[str], dkim: str, *, own_server: bool
) -> list[Record]:
    host = settings.get("MAIL_DOMAIN", "")
    records = [
        Record(domain, "MX", f"10 {host}." if own_server else "", "where mail for it goes"),
        Record(domain, "TXT", "v=spf1 mx -all" if own_server else "", "who may send from it", "v=spf1"),
    ]
    if dkim or own_server:
        name = f"{selector_of(settings)}._domainkey.{domain}"
        records.append(Record(name, "TXT", dkim, "the key of its signatures", "v=DKIM1"))
    policy = f"v=DMARC1; p=quarantine; rua=mailto:postmaster@{domain}"
    records.append(Record(f"_dmarc.{domain}", "TXT", policy, "what becomes of forgeries", "v=DMARC1"))
    if own_server:
        records += [
            Record(ip_address(each).reverse_pointer, "PTR", f"{host}.", "set where the machine is rented")
            for each in addresses
        ]
    return records


def judged(record: Record, found: Sequence[str]) -> State:
    """What a record's answer means."""
    values = [value for value in found if value.lower().startswith(record.prefix.lower())]
    if not values:
        return State.OPTIONAL if record.optional else State.MISSING
    # Where we cannot say what it should be, it is enough that it is there.
    return State.SET if not record.value or _is_right(record, values) else State.DIFFERS


def _is_right(record: Record, values: Sequence[str]) -> bool:
    if record.prefix in {"v=spf1", "v=DMARC1"}:
        # One each, or receivers take none of them (RFC 7208, 4.5; RFC 7489, 6.6.3).
        return len(values) == 1 and _serves(record, values[0])
    if record.prefix == "v=DKIM1":
        return _key(record.value) in map(_key, values)
    if record.kind == "MX":
        return _host(record.value) in map(_host, values)
    if record.kind == "A":
        # One of several that leads elsewhere fails for some of the people.
        there, ours = set(map(ip_address, values)), set(map(ip_address, record.among))
        return ip_address(record.value) in there <= ours
    return record.value.lower() in map(str.lower, values)


def _serves(record: Record, value: str) -> bool:
    """Whether a policy of the operator's own does what ours would."""
    words = value.lower().replace(";", " ").split()
    if record.prefix == "v=spf1":
        return any(word.lstrip("+") in {"mx", f"mx:{record.name}"} for word in words)
    return any(word.startswith("p=") for word in words)


def _host(value: str) -> str:
    return value.rpartition(" ")[2].rstrip(".").lower()


def _key(value: str) -> str:
    """The public key in a DKIM record (RFC 6376, 3.6.1), in which spaces mean nothing."""
    tags = (tag.partition("=") for tag in value.split(";"))
    return next(("".join(text.split()) for name, _, text in tags if name.strip() == "p"), "")
