"""Where a key stands in a request's headers."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_core.access.credentials import key_in

NAME = b"x-api-key"


def basic(text: str) -> bytes:
    return b"Basic " + base64.b64encode(text.encode())


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ([], None),
        ([(NAME, b" k ")], "k"),
        ([(b"authorization", b"Bearer k")], "k"),
        ([(b"authorization", b"bearer  k ")], "k"),
        ([(b"authorization", b"Bearer other"), (NAME, b"k")], "k"),
        # A proxy may send it empty.
        ([(NAME, b" "), (b"authorization", b"Bearer k")], "k"),
        ([(b"authorization", b"Bearer")], None),
        ([(b"authorization", b"Digest k")], None),
        ([(b"authorization", b"k")], None),
        ([(b"x-other", b"k")], None),
    ],
)
def test_headers(headers: list[tuple[bytes, bytes]], key: str | None) -> None:
    assert key_in(headers, NAME) == key


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (basic("anyone:k"), "k"),
        (basic(":k"), "k"),
        (basic("a:k:with:colons"), "k:with:colons"),
        (basic("k"), None),
        (basic("k:"), None),
        (b"Basic ???", None),
        (b"Basic " + base64.b64encode(b"\xff:k"), None),
    ],
)
def test_a_browser_sends_it_as_the_password_where_that_will_do(value: bytes, key: str | None) -> None:
    assert key_in([(b"authorization", value)], NAME, basic=True) == key
    assert key_in([(b"authorization", value)], NAME) is None


@given(st.lists(st.tuples(st.sampled_from([NAME, b"authorization"]), st.binary())), st.booleans())
def test_no_header_is_an_accident(headers: list[tuple[bytes, bytes]], is_basic: bool) -> None:
    key_in(headers, NAME, basic=is_basic)
