"""Another file under the same name is another model."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ai_core.catalog import revision as revision_module
from ai_core.catalog.revision import Revision, digest_of


@pytest.fixture
def small_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proportions of a large model in files that a test can write."""
    monkeypatch.setattr(revision_module, "HEAD_BYTES", 4096)
    monkeypatch.setattr(revision_module, "SAMPLE_BYTES", 64)


def test_copies_have_one_digest_wherever_and_whenever_they_were_made(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"GGUF" * 1000)
    os.utime(tmp_path / "b", (1, 1))
    assert digest_of(tmp_path / "a") == digest_of(tmp_path / "b")


@pytest.mark.usefixtures("small_samples")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.integers(0, 20_000), more=st.integers(1, 3))
def test_files_of_another_size_differ(tmp_path: Path, size: int, more: int) -> None:
    (tmp_path / "a").write_bytes(bytes(size))
    (tmp_path / "b").write_bytes(bytes(size + more))
    assert digest_of(tmp_path / "a") != digest_of(tmp_path / "b")


@pytest.mark.usefixtures("small_samples")
@pytest.mark.parametrize("size", [10, 4096, 4100, 5000, 300_000])
@pytest.mark.parametrize("place", ["begin", "end of the metadata", "end"])
def test_a_changed_byte_at_begin_or_end_is_noticed(tmp_path: Path, size: int, place: str) -> None:
    content = bytearray(size)
    (tmp_path / "a").write_bytes(content)
    content[{"begin": 0, "end of the metadata": min(4095, size - 1), "end": size - 1}[place]] = 1
    (tmp_path / "b").write_bytes(content)
    assert digest_of(tmp_path / "a") != digest_of(tmp_path / "b")


@pytest.mark.usefixtures("small_samples")
def test_trained_anew_is_noticed_in_a_file_that_is_not_read_whole(tmp_path: Path) -> None:
    head, size = bytes(4096), 1_000_000
    (tmp_path / "a").write_bytes(head + bytes(size))
    (tmp_path / "b").write_bytes(head + b"\x01" * size)
    assert digest_of(tmp_path / "a") != digest_of(tmp_path / "b")


async def test_a_replaced_file_has_another_revision_and_its_copy_the_same(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"one")
    revision = Revision(path)
    first = await revision.current(None)
    assert await revision.current(None) == first
    (tmp_path / "new").write_bytes(b"two")
    (tmp_path / "new").replace(path)
    assert await revision.current(None) != first
    path.write_bytes(b"one")
    assert await revision.current(None) == first


async def test_a_resident_model_stays_what_it_was_until_it_is_loaded_anew(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"one")
    revision, first_load, second_load = Revision(path), object(), object()
    loaded = await revision.current(first_load)
    path.write_bytes(b"other")
    assert await revision.current(first_load) == loaded
    assert await revision.current(second_load) != loaded


async def test_the_manner_counts_and_no_file_is_needed(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    revisions = [await Revision(absent, manner).current(None) for manner in ("bf16", "f16")]
    assert len(set(revisions)) == 2
    assert await Revision(absent, "f16").current(object()) == revisions[1]


async def test_a_folder_is_what_all_its_files_are(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "tokenizer").mkdir(parents=True)
        (tmp_path / name / "model.safetensors").write_bytes(b"weights")
        (tmp_path / name / "tokenizer" / "vocabulary.json").write_bytes(b"{}")
    assert digest_of(tmp_path / "a") == digest_of(tmp_path / "b")
    revision = Revision(tmp_path / "a")
    first = await revision.current(None)
    assert first != await Revision(tmp_path / "absent").current(None)
    (tmp_path / "a" / "tokenizer" / "vocabulary.json").write_bytes(b"[]")
    assert await revision.current(None) != first
    (tmp_path / "b" / "model.safetensors").rename(tmp_path / "b" / "other.safetensors")
    assert digest_of(tmp_path / "b") != digest_of(tmp_path / "a")
