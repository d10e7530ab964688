"""Where a request comes from, when proxies may stand in between."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_core.access.networks import client_address, parse_address, parse_network, within

PROXIES = [parse_network("10.0.0.0/8"), parse_network("::1")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        # Who is no proxy of ours may claim what it likes.
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        # The client wrote the left part itself.
        ("10.0.0.1", ["192.0.2.1, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["192.0.2.1", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1, 10.0.0.7,10.0.0.8"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.7"], "10.0.0.7"),
        # What cannot be read hides who it was.
        ("10.0.0.1", ["198.51.100.1, unknown"], None),
        ("10.0.0.1", [""], None),
        ("::1", ["2001:db8::7"], "2001:db8::7"),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        (None, ["198.51.100.1"], None),
        ("not an address", ["198.51.100.1"], None),
    ],
)
def test_the_client_is_the_right_most_that_is_no_proxy_of_ours(
    peer: str | None, forwarded: list[str], client: str | None
) -> None:
    expected = None if client is None else ip_address(client)
    assert client_address(peer, forwarded, PROXIES) == expected


@given(st.lists(st.text(max_size=30), max_size=5))
def test_no_header_moves_a_client_that_is_no_proxy(forwarded: list[str]) -> None:
    assert client_address("203.0.113.9", forwarded, PROXIES) == ip_address("203.0.113.9")


@given(st.ip_addresses(), st.lists(st.ip_addresses().map(str), max_size=5))
def test_nothing_on_the_left_of_a_stranger_counts(stranger: object, left: list[str]) -> None:
    address = parse_address(str(stranger))
    assert address is not None
    if not within(address, PROXIES):
        assert client_address("10.0.0.1", [", ".join([*left, str(stranger)])], PROXIES) == address


@pytest.mark.parametrize(
    ("address", "network", "inside"),
    [
        ("192.0.2.7", "192.0.2.0/24", True),
        ("192.0.2.7", "192.0.2.9/24", True),
        ("192.0.3.7", "192.0.2.0/24", False),
        ("::ffff:192.0.2.7", "192.0.2.0/24", True),
        ("2001:db8::1", "2001:db8::/32", True),
        ("2001:db8::1", "0.0.0.0/0", False),
        ("fe80::1%eth0", "fe80::/10", True),
    ],
)
def test_networks(address: str, network: str, inside: bool) -> None:
    parsed = parse_address(address)
    assert parsed is not None
    assert within(parsed, [parse_network(network)]) is inside
