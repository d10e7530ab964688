"""What is stored says nothing without the secret, and what was tampered with is not read."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servicekit.storage.sealing import PlainSeal, Seal, SecretSeal, Unreadable, seal_for
from servicekit.storage.secret_file import SecretFileError, kept_secret, make_secret

SEALS: list[Seal] = [PlainSeal(), SecretSeal(b"secret", "tests")]
TEXT = "Puis-je être licenciée pendant ma grossesse ?".encode()


@pytest.mark.parametrize("seal", SEALS, ids=["plain", "secret"])
@pytest.mark.parametrize("value", [b"", TEXT, bytes(range(256))])
def test_a_value_comes_back(seal: Seal, value: bytes) -> None:
    assert seal.open(seal.close(value, "place"), "place") == value


def test_with_a_secret_nothing_of_the_text_is_stored_and_never_the_same_twice() -> None:
    seal = seal_for("tests", "secret")
    stored = {seal.close(TEXT, "place") for _ in range(100)}
    assert len(stored) == 100
    assert not any(TEXT[start : start + 6] in each for each in stored for start in range(len(TEXT) - 6))


@given(st.binary(max_size=50), st.data())
def test_a_single_changed_bit_is_noticed(value: bytes, data: st.DataObject) -> None:
    seal = SEALS[1]
    stored = bytearray(seal.close(value, "place"))
    at = data.draw(st.integers(0, len(stored) - 1))
    stored[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(Unreadable):
        seal.open(bytes(stored), "place")


@given(st.binary(max_size=60))
def test_anything_that_is_no_stored_value_is_unreadable(rubbish: bytes) -> None:
    with pytest.raises(Unreadable):
        SEALS[1].open(rubbish, "place")


def test_a_value_moved_to_another_place_is_unreadable() -> None:
    stored = SEALS[1].close(TEXT, "one user's")
    with pytest.raises(Unreadable):
        SEALS[1].open(stored, "another's")


@pytest.mark.parametrize("other", [SecretSeal(b"other", "tests"), SecretSeal(b"secret", "else"), PlainSeal()])
def test_another_secret_or_purpose_reads_nothing(other: Seal) -> None:
    with pytest.raises(Unreadable):
        other.open(SEALS[1].close(TEXT, "place"), "place")


def test_who_has_a_secret_takes_nothing_unsealed() -> None:
    """Otherwise whoever can write to the store could put words into anybody's mouth."""
    with pytest.raises(Unreadable):
        SEALS[1].open(SEALS[0].close(TEXT, "place"), "place")


@pytest.mark.parametrize("seal", SEALS, ids=["plain", "secret"])
def test_names_are_stable_and_tell_lists_of_parts_apart(seal: Seal) -> None:
    lists = [(b"ab", b"c"), (b"a", b"bc"), (b"abc",), (b"abc", b""), (b"c", b"ab")]
    assert len({seal.name(*parts) for parts in lists}) == len(lists)
    assert seal.name(b"ab", b"c") == seal.name(b"ab", b"c")


def test_a_name_cannot_be_guessed_without_the_secret() -> None:
    assert len({seal.name(TEXT) for seal in (*SEALS, SecretSeal(b"other", "tests"))}) == 3


def test_while_the_secret_changes_what_was_written_before_is_read() -> None:
    before = seal_for("tests", "secret").close(TEXT, "place")
    seal = seal_for("tests", "a new secret", ["another one", "secret"])
    assert seal.open(before, "place") == TEXT
    with pytest.raises(Unreadable):
        seal.open(before, "elsewhere")
    with pytest.raises(Unreadable):
        seal_for("tests", "a new secret", ["another one"]).open(before, "place")


def test_with_several_secrets_the_new_one_writes() -> None:
    seal, new = seal_for("tests", "a new secret", ["secret"]), seal_for("tests", "a new secret")
    assert new.open(seal.close(TEXT, "place"), "place") == TEXT
    assert seal.name(b"anne") == new.name(b"anne")


def test_a_secret_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "var" / "secret.key"
    assert kept_secret(path) is None
    with ThreadPoolExecutor() as pool:
        assert sum(pool.map(lambda _: make_secret(path), range(8))) == 1
    assert path.stat().st_mode & 0o777 == 0o600
    secret = kept_secret(path)
    assert secret is not None
    assert len(secret) == 64
    assert not make_secret(path)
    assert kept_secret(path) == secret
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe"])
def test_a_useless_secret_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secret.key"
    path.write_bytes(content)
    with pytest.raises(SecretFileError, match=r"secret\.key"):
        kept_secret(path)


def test_a_secret_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("a file in the way")
    with pytest.raises(SecretFileError, match="cannot be made"):
        make_secret(tmp_path / "var" / "secret.key")
