"""The header of a GGUF file, against the package of those who define the format."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ai_core.catalog.facts import FILE_TYPES, FileFacts, facts_of
from ai_core.catalog.gguf_header import TENSOR_TYPES, BadHeader, read_header
from ai_core_service import ROOT

DEMO = ROOT / "models/neo-demo/neo-demo.gguf"
FILES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)

whole = st.integers(-(2**31), 2**31 - 1)
values = st.one_of(
    st.tuples(st.just("int32"), whole),
    st.tuples(st.just("uint64"), st.integers(0, 2**64 - 1)),
    st.tuples(st.just("float64"), st.floats(allow_nan=False)),
    st.tuples(st.just("bool"), st.booleans()),
    st.tuples(st.just("string"), st.text(min_size=1, max_size=30)),
    st.tuples(st.just("array"), st.lists(whole, min_size=1, max_size=5)),
    st.tuples(st.just("array"), st.lists(st.text(max_size=5), min_size=1, max_size=5)),
)
metadata = st.dictionaries(st.from_regex(r"[a-z]{1,8}\.[a-z]{1,8}", fullmatch=True), values, max_size=6)
shapes = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 40)), max_size=4)


def write(path: Path, entries: dict[str, tuple[str, Any]], tensors: list[tuple[int, int]]) -> None:
    writer = gguf.GGUFWriter(path, "qwen3")
    for key, (kind, value) in entries.items():
        getattr(writer, f"add_{kind}")(key, value)
    for number, shape in enumerate(tensors):
        writer.add_tensor(f"t{number}", np.ones(shape, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@FILES
@given(entries=metadata, tensors=shapes)
def test_what_the_reference_writes_is_read(
    tmp_path: Path, entries: dict[str, tuple[str, Any]], tensors: list[tuple[int, int]]
) -> None:
    path = tmp_path / "any.gguf"
    write(path, entries, tensors)
    header = read_header(path)
    single = {key: value for key, (kind, value) in entries.items() if kind != "array"}
    assert dict(header.metadata) == {"general.architecture": "qwen3"} | single
    lists = {key: len(value) for key, (kind, value) in entries.items() if kind == "array"}
    assert dict(header.lengths) == lists
    assert (header.tensors, header.parameters) == (len(tensors), sum(a * b for a, b in tensors))
    assert header.main_type == ("F32" if tensors else "")
    assert header.size == path.stat().st_size


def test_the_demo_model_is_read_as_the_reference_reads_it() -> None:
    header, reference = read_header(DEMO), gguf.GGUFReader(DEMO)
    assert header.data_offset == reference.data_offset
    assert header.tensors == len(reference.tensors)
    assert header.parameters == sum(int(tensor.n_elements) for tensor in reference.tensors)
    for key, length in header.lengths.items():
        assert length == len(reference.fields[key].data)
    for key, value in header.metadata.items():
        expected = reference.fields[key].contents()
        assert value == (pytest.approx(expected, rel=1e-6) if isinstance(value, float) else expected)


@FILES
@given(st.data())
def test_a_file_that_is_cut_or_changed_anywhere_is_read_or_refused(
    tmp_path: Path, data: st.DataObject
) -> None:
    path = tmp_path / "broken.gguf"
    write(path, {"a.b": ("string", "text"), "c.d": ("array", [1, 2])}, [(2, 3)])
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    facts = facts_of("gguf", path)
    assert facts.problem or facts.form == "gguf"


@pytest.mark.parametrize("share", [0.0, 0.001, 0.02, 0.5, 0.9])
def test_a_download_that_was_cut_short_is_told(tmp_path: Path, share: float) -> None:
    content = DEMO.read_bytes()
    path = tmp_path / "cut.gguf"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(BadHeader, match="cut short"):
        read_header(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html>", "does not begin with the letters GGUF"),
        (b"GGUF" + struct.pack("<I", 1), "version 1"),
        (b"GGUF" + struct.pack(">I", 3), "version 50331648"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0), "claims to have"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60), "claims to have"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**60), "claims to have"),
        (b"GGUF" + struct.pack("<IQQQ1sI", 3, 0, 1, 1, b"k", 77), "unknown type 77"),
    ],
)
def test_a_header_that_lies_costs_nothing(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "lie.gguf"
    path.write_bytes(content)
    with pytest.raises(BadHeader, match=words):
        read_header(path)
    assert words in facts_of("gguf", path).problem


def test_names_of_types_are_those_of_the_reference() -> None:
    assert {int(kind): kind.name for kind in gguf.GGMLQuantizationType} == TENSOR_TYPES
    guessed = gguf.LlamaFileType.GUESSED
    names = {
        int(kind): kind.name.removeprefix("MOSTLY_").removeprefix("ALL_")
        for kind in gguf.LlamaFileType
        if kind is not guessed
    }
    assert names == FILE_TYPES


def test_the_facts_of_the_demo_model() -> None:
    assert facts_of("gguf", DEMO) == FileFacts(
        form="gguf",
        architecture="qwen3",
        quantization="F16",
        has_file_type=True,
        matrices=frozenset({"F16"}),
        tokenizer="gpt2/qwen2",
        trained_context=2048,
        parameters=4_197_120,
        size=DEMO.stat().st_size,
    )


def test_a_file_that_is_not_there_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    assert "cannot be read" in facts_of("gguf", tmp_path / "none.gguf").problem
    assert "no folder" in facts_of("transformers", tmp_path / "none").problem


@pytest.mark.parametrize(
    ("type_", "files", "form", "problem"),
    [
        ("transformers", {"config.json": '{"model_type": "qwen3"}', "a.safetensors": "x"}, "safetensors", ""),
        ("transformers", {"config.json": "[1", "a.safetensors": "x"}, "safetensors", ""),
        ("transformers", {"openvino_model.xml": "x", "config.json": "{}"}, "openvino", ""),
        ("transformers", {"config.json": "{}"}, "unknown", "no .safetensors"),
        ("onnx", {"genai_config.json": "{}", "model.onnx": "x"}, "onnx", ""),
        ("onnx", {"model.onnx": "x"}, "onnx", "no genai_config.json"),
    ],
)
def test_folders(tmp_path: Path, type_: Any, files: dict[str, str], form: str, problem: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    facts = facts_of(type_, tmp_path)
    assert facts.form == form
    assert problem in facts.problem
    assert bool(facts.problem) is bool(problem)
    assert facts.size == sum(len(text) for text in files.values())
