"""Keys as strings, and how they are compared."""

from __future__ import annotations

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_core.access import keys
from ai_core.access.keys import (
    ID_CHARACTERS,
    NO_DIGEST,
    SECRET_CHARACTERS,
    digest_of,
    is_id,
    is_one_of,
    new_key,
    parse_key,
)

DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex)


def test_a_new_key_is_read_back_and_never_the_same() -> None:
    issued = [new_key() for _ in range(200)]
    assert all(parse_key(str(key)) == key for key in issued)
    assert len({key.id for key in issued}) == len({key.secret for key in issued}) == 200
    assert all(is_id(key.id) for key in issued)


def test_a_secret_has_at_least_192_random_bits() -> None:
    assert 62**SECRET_CHARACTERS >= 2**192
    letters = set("".join(new_key().secret for _ in range(100)))
    assert len(letters) == 62


def test_a_secret_is_shown_where_it_is_asked_for_and_nowhere_else() -> None:
    key = new_key()
    assert key.secret not in repr(key)
    assert key.secret in str(key)


@given(st.text())
def test_whatever_is_no_key_is_none(text: str) -> None:
    found = parse_key(text)
    assert found is None or str(found) == text


@pytest.mark.parametrize(
    "change",
    [
        lambda key: key[:-1],
        lambda key: key + "x",
        lambda key: key + "\n",
        lambda key: key.upper(),
        lambda key: key.replace("neo_", "sk-"),
        lambda key: key[:-1] + "é",
        lambda key: key[:-1] + "٣",
    ],
)
def test_what_is_not_quite_a_key_is_none(change: object) -> None:
    assert callable(change)
    assert parse_key(change("neo_" + "a" * ID_CHARACTERS + "_" + "b" * SECRET_CHARACTERS)) is None


@given(DIGESTS, DIGESTS, DIGESTS)
def test_a_digest_is_one_of_the_two_or_it_is_not(digest: str, current: str, previous: str) -> None:
    assert is_one_of(digest, current, previous) == (digest in {current, previous})
    assert is_one_of(current, current, previous)
    assert is_one_of(previous, current, previous)


@pytest.mark.parametrize("shown", ["a" * 40, "b" * 40, "c" * 40])
def test_every_comparison_is_the_same_work(shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two comparisons in constant time, of strings of one length, whichever secret was shown."""
    compared: list[tuple[int, int]] = []

    def noting(one: str, other: str) -> bool:
        compared.append((len(one), len(other)))
        return hmac.compare_digest(one, other)

    class Noting:
        compare_digest = staticmethod(noting)

    monkeypatch.setattr(keys, "hmac", Noting)
    is_one_of(digest_of(shown), digest_of("a" * 40), digest_of("b" * 40))
    is_one_of(digest_of(shown), NO_DIGEST, NO_DIGEST)
    assert compared == [(64, 64)] * 4
