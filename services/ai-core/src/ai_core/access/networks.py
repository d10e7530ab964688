"""Where a request comes from, and whether a key may be used from there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_FORWARDED = 32
"""Entries of X-Forwarded-For that are looked at; chains of proxies are shorter."""


def parse_network(text: str) -> Network:
    """A network in CIDR notation, or one address. Raises ValueError."""
    return ip_network(text.strip(), strict=False)


def parse_address(text: str) -> Address | None:
    """An address; IPv4 inside IPv6 as IPv4; None for what is none."""
    try:
        address = ip_address(text.strip().partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def within(address: Address, networks: Iterable[Network]) -> bool:
    """Whether an address belongs to one of the networks."""
    return any(address.version == network.version and address in network for network in networks)


def client_address(peer: str | None, forwarded: Sequence[str], trusted: Sequence[Network]) -> Address | None:
    """The address of the client itself.

    The peer's, unless the peer is a proxy of ours: then the right-most of ``X-Forwarded-For`` that
    is none. Anything further left was written by the client, who may write what it likes.

    Args:
        peer: the other end of the connection; None where it has no address (a Unix socket).
        forwarded: the values of all X-Forwarded-For headers, in order.
        trusted: our proxies.

    Returns:
        None if it cannot be told; a key that is bound to networks is refused then.
    """
    address = None if peer is None else parse_address(peer)
    if address is None or not within(address, trusted):
        return address
    hops = [hop for value in forwarded for hop in value.split(",")][-MAX_FORWARDED:]
    for hop in reversed(hops):
        address = parse_address(hop)
        if address is None or not within(address, trusted):
            return address
    return address
