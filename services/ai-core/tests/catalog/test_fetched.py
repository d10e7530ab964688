"""What was fetched from the hub, and what an engine opens of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ai_core.catalog.fetched import FETCHED, Record, Selection, read_record, selection_key, write_record
from ai_core.catalog.models import HubSource, ModelEntry
from ai_core.catalog.places import hub_folder, opened_path

HUB = HubSource("owner/name")


def entry(models: Path, **fields: object) -> ModelEntry:
    model = ModelEntry("model", hub_folder(models, HUB), hub=HUB)
    return replace(model, **fields)  # type: ignore[arg-type]


def fetched(folder: Path, key: str, main: str, *names: str) -> None:
    record = read_record(folder)
    record.selections[key] = Selection(list(names), main)
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    write_record(folder, record)


def test_each_model_of_a_repository_opens_what_was_fetched_for_it(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path, HUB)
    fetched(folder, selection_key("gguf", "", "none"), "b.gguf", "b.gguf")
    fetched(folder, selection_key("gguf", "*.q8_0.gguf", "none"), "a.Q8_0.gguf", "a.Q8_0.gguf")
    fetched(folder, selection_key("transformers", "", "none"), "", "model.safetensors", "config.json")
    fetched(folder, selection_key("onnx", "", "none"), "cpu/int4", "cpu/int4/model.onnx")
    precise = HubSource("owner/name", "*.Q8_0.gguf")
    assert opened_path(entry(tmp_path)) == folder / "b.gguf"
    assert opened_path(entry(tmp_path, hub=precise)) == folder / "a.Q8_0.gguf"
    assert opened_path(entry(tmp_path, type="transformers")) == folder
    assert opened_path(entry(tmp_path, type="transformers", quantization="4bit")) == folder
    assert opened_path(entry(tmp_path, type="onnx")) == folder / "cpu/int4"


def test_another_model_of_the_repository_does_not_make_this_one_complete(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path, HUB)
    fetched(folder, selection_key("gguf", "", "none"), "b.gguf", "b.gguf")
    (folder / "config.json").touch()
    assert opened_path(entry(tmp_path, type="transformers")) is None


def test_what_was_fetched_for_another_model_is_not_served_for_this_one(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path, HUB)
    fetched(folder, selection_key("gguf", "*q8_0*", "none"), "a.Q8_0.gguf", "a.Q8_0.gguf")
    assert opened_path(entry(tmp_path)) is None


def test_files_that_were_put_there_by_hand_are_served(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path, HUB)
    folder.mkdir(parents=True)
    (folder / "a.Q8_0.gguf").touch()
    assert opened_path(entry(tmp_path)) == folder / "a.Q8_0.gguf"


def test_a_model_of_which_a_file_went_missing_is_not_there(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path, HUB)
    fetched(folder, selection_key("transformers", "", "none"), "", "model.safetensors", "config.json")
    (folder / "model.safetensors").unlink()
    assert opened_path(entry(tmp_path, type="transformers")) is None


def test_what_is_still_coming_is_not_served(tmp_path: Path) -> None:
    incoming = hub_folder(tmp_path, HUB) / ".incoming"
    incoming.mkdir(parents=True)
    (incoming / ("0" * 64 + ".part")).write_bytes(b"GGUF")
    (incoming / ("1" * 64)).write_bytes(b"GGUF")
    assert opened_path(entry(tmp_path)) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 99, "selections": {}}', b"\xff\xfe"])
def test_a_record_that_cannot_be_read_is_no_record(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FETCHED).write_bytes(content)
    assert read_record(tmp_path) == Record()


def test_a_preferred_quantization_tells_models_apart_and_how_others_are_loaded_does_not() -> None:
    assert selection_key("gguf", "", "q4_k_m") == selection_key("gguf", "", "Q4_K_M")
    assert selection_key("gguf", "", "Q4_K_M") != selection_key("gguf", "", "none")
    assert selection_key("transformers", "", "int8") == selection_key("transformers", "", "none")
