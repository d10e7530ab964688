"""Which models the settings mean, checked on the disk."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ai_core.catalog.files import ModelSources, load_catalog
from ai_core.catalog.models import CatalogError
from ai_core.standard_places import MODELS_FILE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.gguf").write_bytes(b"GGUF\x03\x00\x00\x00")
    (tmp_path / "empty.gguf").touch()
    (tmp_path / "page.gguf").write_bytes(b"<!DOCTYPE html>")
    (tmp_path / "folder.gguf").mkdir()
    return tmp_path


def sources(
    folder: Path, model: str | None = None, name: str | None = None, default: str | None = None
) -> ModelSources:
    return ModelSources(
        model_path=folder / model if model else None,
        model_name=name,
        model_config_path=folder / "models.json",
        model_cache_dir=folder,
        default_model=default,
    )


def refusal(from_sources: ModelSources) -> str:
    with pytest.raises(CatalogError) as caught:
        load_catalog(from_sources)
    return str(caught.value)


def test_one_file_is_a_catalog_of_its_own(folder: Path) -> None:
    assert load_catalog(sources(folder, "good.gguf")).default.name == "good"
    assert load_catalog(sources(folder, "good.gguf", "neo")).default.name == "neo"


def test_one_file_goes_before_the_models_file(folder: Path) -> None:
    (folder / "models.json").write_text("not read")
    assert len(load_catalog(sources(folder, "good.gguf")).entries) == 1


def test_the_models_file_finds_its_files_in_the_models_folder(folder: Path) -> None:
    (folder / "models.json").write_text(json.dumps({"models": {"m": {"type": "gguf", "path": "good.gguf"}}}))
    assert load_catalog(sources(folder)).resolve("m").path == folder / "good.gguf"


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("gone.gguf", "does not exist"),
        ("empty.gguf", "is empty"),
        ("page.gguf", "not a GGUF file"),
        ("folder.gguf", "is a folder"),
    ],
)
def test_a_file_that_is_no_model_is_refused_at_start_where_it_is_all_there_is(
    folder: Path, model: str, words: str
) -> None:
    assert words in refusal(sources(folder, model))


@pytest.mark.parametrize("model", ["gone.gguf", "empty.gguf", "page.gguf", "owner/name"])
def test_a_bad_file_of_the_models_file_keeps_no_other_model_from_being_served(
    folder: Path, model: str
) -> None:
    listed = {"bad": {"type": "gguf", "path": model}, "good": {"type": "gguf", "path": "good.gguf"}}
    (folder / "models.json").write_text(json.dumps({"models": listed}))
    assert [entry.name for entry in load_catalog(sources(folder)).entries] == ["bad", "good"]


def test_no_model_at_all_says_what_to_set(folder: Path) -> None:
    sentence = refusal(sources(folder))
    assert "MODEL_PATH" in sentence
    assert "MODEL_CONFIG_PATH" in sentence


def test_where_nothing_is_set_the_demo_model_is_served_if_it_is_here(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    nothing = replace(sources(folder), model_config_path=MODELS_FILE)
    assert "MODEL_PATH" in refusal(nothing)
    demo = folder / "models/neo-demo/neo-demo.gguf"
    demo.parent.mkdir(parents=True)
    demo.write_bytes(b"GGUF\x03\x00\x00\x00")
    assert [(entry.name, entry.path.resolve()) for entry in load_catalog(nothing).entries] == [
        ("neo-demo", demo.resolve())
    ]
    # A models file that was named and is not there is a mistake, and one that is there is meant.
    assert "models.json" in refusal(sources(folder))
    MODELS_FILE.parent.mkdir()
    MODELS_FILE.write_text(json.dumps({"models": {"m": {"type": "gguf", "path": "good.gguf"}}}))
    assert [entry.name for entry in load_catalog(nothing).entries] == ["m"]


def test_a_name_without_a_file_is_refused(folder: Path) -> None:
    assert "MODEL_PATH" in refusal(sources(folder, name="neo"))


def test_a_default_that_the_one_file_is_not_called_is_refused(folder: Path) -> None:
    assert "DEFAULT_MODEL" in refusal(sources(folder, "good.gguf", default="other"))
    assert load_catalog(sources(folder, "good.gguf", default="good")).default.name == "good"


def test_a_mistake_in_the_models_file_names_the_file(folder: Path) -> None:
    (folder / "models.json").write_text("{}")
    assert refusal(sources(folder)).startswith(str(folder / "models.json"))


def test_a_models_file_of_absurd_size_is_not_read(folder: Path) -> None:
    (folder / "models.json").write_bytes(b" " * 1_048_577)
    assert "larger than" in refusal(sources(folder))
