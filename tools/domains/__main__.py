"""The DNS records that an installation needs, from its .env: printed, or compared with what name servers say.

    make dns                          print them
    make dns CHECK=1                  ask, and print what is set, missing or different
    make dns ADDRESS="203.0.113.5"    where this machine's address cannot be told from here

Exit status: 0; 1 if something has to be set or nobody answers; 2 if .env names no domain yet.

Runs with the Python of Debian 12 and Ubuntu 22.04, too: on a server there need be no .venv. Asking wants
dnspython (python3-dnspython), which deploy/install.sh installs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from pathlib import Path

from domains.asking import DnsResolver, NoAnswer, dkim_record, findings, own_addresses, read_settings
from domains.records import Finding, Record, Settings, State, mail_domain, wanted

MISSING_SOMETHING, UNUSABLE = 1, 2
LONGEST_STRING = 255
"""Bytes of one string of a TXT record (RFC 1035, section 3.3)."""


def zone_line(record: Record) -> str:
    """As a zone file has it: what most providers' forms take, field by field."""
    value = record.value
    if record.kind == "TXT":
        pieces = [value[at : at + LONGEST_STRING] for at in range(0, len(value), LONGEST_STRING)]
        value = " ".join(f'"{piece}"' for piece in pieces)
    return f"{record.name}.  {record.kind}  {value}"


def show(records: Iterable[Record], settings: Settings) -> None:
    """Print what is to be set, and what only somebody else can say."""
    for record in records:
        print(f"; {record.why}{' (optional)' if record.optional else ''}")
        if record.value:
            print(zone_line(record))
        elif record.prefix == "v=DKIM1":
            print(
                f"; {record.name}.  TXT  made by: deploy/compose.sh exec mailserver setup config dkim domain "
                f"{mail_domain(settings)}, then run this again"
            )
        else:
            print(f"; {record.name}.  {record.kind}  {record.prefix or ''}…  as your provider says")


def show_findings(found: Sequence[Finding]) -> None:
    """Print a table."""
    rows = [("record", "type", "state", "is"), *(_row(each) for each in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        print(
            "  ".join(
                [*(cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)), row[3]]
            ).rstrip()
        )
    for each in found:
        if each.state in {State.MISSING, State.DIFFERS} and each.record.value:
            print(f"to be set: {zone_line(each.record)}")


def _row(finding: Finding) -> tuple[str, str, str, str]:
    shown = ", ".join(finding.found)
    return (
        finding.record.name,
        finding.record.kind,
        finding.state.value,
        shown if len(shown) <= 60 else f"{shown[:59]}…",
    )


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description="The DNS records that this installation needs.")
    parser.add_argument("--check", action="store_true", help="ask for them, and compare")
    parser.add_argument("--env", type=Path, default=Path(".env"), help="[%(default)s]")
    parser.add_argument("--address", action="append", default=[], help="of this machine; repeatable")
    parser.add_argument("--server", default="", help="a name server, as 127.0.0.1:53 [those of this machine]")
    options = parser.parse_args(arguments)
    try:
        settings, records = _wanted(options)
        if not options.check:
            show(records, settings)
            return 0
        found = findings(records, DnsResolver(options.server))
    except (NoAnswer, ValueError) as error:
        print(f"make dns: {error}.", file=sys.stderr)
        return UNUSABLE
    show_findings(found)
    return 0 if all(each.state in {State.SET, State.OPTIONAL} for each in found) else MISSING_SOMETHING


def _wanted(options: argparse.Namespace) -> tuple[Settings, list[Record]]:
    """Raises ValueError with what the operator has to do first."""
    try:
        settings = read_settings(options.env)
    except OSError as error:
        reason = f"{options.env} cannot be read ({error.strerror}): write your domains into it"
        raise ValueError(reason) from error
    addresses = [_address(each) for each in options.address] or own_addresses()
    if not settings.get("AI_DOMAIN") or settings["AI_DOMAIN"].endswith("localhost"):
        raise ValueError(f"{options.env} names no domain yet: set AI_DOMAIN, and those of the channels")
    if not addresses:
        raise ValueError('this machine has no public IPv4 address of its own: make dns ADDRESS="203.0.113.5"')
    return settings, wanted(settings, addresses, dkim_record(settings, options.env.absolute().parent))


def _address(text: str) -> str:
    address = ip_address(text)
    if address.version != 4:
        raise ValueError(f'{text}: nginx is published by IPv4 alone; deploy/README.md, "IPv6", says why')
    return text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
