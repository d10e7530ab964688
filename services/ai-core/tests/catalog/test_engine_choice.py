"""Which engine computes a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ai_core.catalog.engine_choice import (
    BACKENDS,
    OPENVINO_QUANTIZATIONS,
    OPENVINO_SHAPES,
    OPENVINO_TOKENIZERS,
    Machine,
    choose_engine,
)
from ai_core.catalog.facts import FileFacts, Form, facts_of
from ai_core.catalog.machine import processor_flags, this_machine
from ai_core.catalog.models import AdapterEntry, EngineChoice, ModelEntry, ModelType
from ai_core.catalog.models_shape import ENGINES
from ai_core.engine.backends.openvino.gguf_model import read_gguf
from ai_core.engine.backends.openvino.gguf_vocabulary import EXPRESSIONS
from ai_core.engine.backends.openvino.shapes import ARCHITECTURES, WEIGHTS, unsupported

ENTRY = ModelEntry("m", Path("m.gguf"))
FACTS = FileFacts(
    form="gguf",
    architecture="qwen2",
    quantization="Q4_0",
    has_file_type=True,
    matrices=frozenset({"Q4_0"}),
    tokenizer="gpt2/qwen2",
)
BOTH = Machine(llama_cpp=True, openvino=True, transformers=True, converter=True)


def engine(entry: ModelEntry = ENTRY, facts: FileFacts = FACTS, machine: Machine = BOTH, n: int = 8) -> str:
    return choose_engine(entry, facts, machine, n).engine


def test_several_answers_at_once_are_openvinos() -> None:
    assert engine() == "openvino"
    assert choose_engine(ENTRY, FACTS, BOTH, 8).backend == "openvino"


@pytest.mark.parametrize(
    ("entry", "facts", "machine", "sequences"),
    [
        (ENTRY, FACTS, replace(BOTH, openvino=False), 8),
        (ENTRY, replace(FACTS, architecture="gemma3"), BOTH, 8),
        (ENTRY, replace(FACTS, matrices=frozenset({"Q4_K", "Q6_K"})), BOTH, 8),
        (ENTRY, replace(FACTS, matrices=frozenset({"Q4_0", "Q6_K"})), BOTH, 8),
        (ENTRY, replace(FACTS, matrices=frozenset({"F32"})), BOTH, 8),
        (ENTRY, replace(FACTS, tokenizer="llama/default"), BOTH, 8),
        (ENTRY, replace(FACTS, peculiarity="has experts"), BOTH, 8),
        (ENTRY, replace(FACTS, has_file_type=False), BOTH, 8),
        (ENTRY, FileFacts(problem="not here"), BOTH, 8),
        (ENTRY, replace(FACTS, embedding=True), BOTH, 8),
        (replace(ENTRY, kind="embedding"), FACTS, BOTH, 8),
        (replace(ENTRY, device="GPU.0"), FACTS, BOTH, 8),
        (replace(ENTRY, adapters=(AdapterEntry("a", Path("a.gguf")),)), FACTS, BOTH, 8),
        (ENTRY, FACTS, BOTH, 1),
        (ENTRY, replace(FACTS, quantization="Q8_0"), replace(BOTH, own_kernels=True), 8),
    ],
)
def test_what_openvino_does_not_do_better_is_llama_cpps(
    entry: ModelEntry, facts: FileFacts, machine: Machine, sequences: int
) -> None:
    assert engine(entry, facts, machine, sequences) == "llama.cpp"


def test_adapters_of_pefts_are_no_reason_against_openvino() -> None:
    assert engine(replace(ENTRY, adapters=(AdapterEntry("a", Path("folder")),))) == "openvino"


def test_the_table_says_what_the_engine_says() -> None:
    assert OPENVINO_SHAPES == ARCHITECTURES
    assert frozenset(WEIGHTS.values()) == OPENVINO_QUANTIZATIONS
    assert {f"gpt2/{cut}" for cut in EXPRESSIONS} == OPENVINO_TOKENIZERS


def test_our_kernels_are_for_what_they_multiply() -> None:
    assert engine(machine=replace(BOTH, own_kernels=True)) == "openvino"


def test_without_a_compiler_openvino_takes_what_it_can() -> None:
    bare = replace(BOTH, llama_cpp=False)
    assert engine(machine=bare, n=1) == "openvino"
    assert engine(facts=replace(FACTS, architecture="gemma3"), machine=bare) == "llama.cpp"


def test_the_operator_has_the_last_word() -> None:
    assert engine(replace(ENTRY, engine="llama.cpp")) == "llama.cpp"
    assert engine(replace(ENTRY, engine="openvino"), machine=replace(BOTH, openvino=False)) == "openvino"


@pytest.mark.parametrize(
    ("machine", "facts", "expected"),
    [
        (BOTH, FileFacts(form="safetensors"), "openvino"),
        (replace(BOTH, converter=False), FileFacts(form="safetensors"), "transformers"),
        (replace(BOTH, converter=False), FileFacts(form="openvino"), "openvino"),
        (replace(BOTH, openvino=False), FileFacts(form="safetensors"), "transformers"),
    ],
)
def test_safetensors_are_converted_where_that_is_possible(
    machine: Machine, facts: FileFacts, expected: str
) -> None:
    assert engine(replace(ENTRY, type="transformers"), facts, machine) == expected


def test_code_that_comes_with_a_model_runs_in_transformers_only() -> None:
    entry = replace(ENTRY, type="transformers", trust_remote_code=True)
    assert engine(entry, FileFacts(form="safetensors")) == "transformers"


machines = st.builds(
    Machine,
    llama_cpp=st.booleans(),
    openvino=st.booleans(),
    transformers=st.booleans(),
    onnxruntime=st.booleans(),
    converter=st.booleans(),
    own_kernels=st.booleans(),
)
facts = st.builds(
    FileFacts,
    form=st.sampled_from(get_args(Form)),
    architecture=st.sampled_from(["", "qwen3", "bert", "{odd}"]),
    quantization=st.sampled_from(["", "Q8_0", "Q4_K_M"]),
    has_file_type=st.booleans(),
    matrices=st.frozensets(st.sampled_from(["Q8_0", "Q6_K", "?"])),
    tokenizer=st.sampled_from(["", "gpt2/qwen2"]),
    peculiarity=st.sampled_from(["", "has experts"]),
    embedding=st.booleans(),
)


@given(st.data(), machines, facts, st.integers(1, 128))
def test_every_model_has_an_engine_of_its_type_and_a_reason(
    data: st.DataObject, machine: Machine, facts: FileFacts, sequences: int
) -> None:
    type_: ModelType = data.draw(st.sampled_from(get_args(ModelType)))
    wanted: EngineChoice = data.draw(st.sampled_from(ENGINES[type_]))
    entry = replace(ENTRY, type=type_, engine=wanted)
    decision = choose_engine(entry, facts, machine, sequences)
    assert decision.engine in ({"remote"} if type_ == "remote" else ENGINES[type_])
    assert wanted in {"auto", decision.engine}
    assert decision.backend in BACKENDS.values()
    assert decision.reason.endswith(".")


def test_what_is_installed_is_found_without_being_imported() -> None:
    machine = this_machine(kernels="ggml")
    assert machine.llama_cpp
    assert not machine.own_kernels


def test_the_processor_says_what_it_can(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor: 0\nflags\t\t: fpu avx512_vnni\n\nprocessor: 1\n")
    assert processor_flags(tmp_path / "cpuinfo") == {"fpu", "avx512_vnni"}
    assert processor_flags(tmp_path / "none") == frozenset()


def write_gguf(path: Path, data: st.DataObject) -> None:
    """The header of some model, with tensors of some types."""
    writer = gguf.GGUFWriter(path, architecture := data.draw(st.sampled_from(["llama", "qwen3", "gemma3"])))
    writer.add_string("tokenizer.ggml.model", data.draw(st.sampled_from(["gpt2", "llama"])))
    writer.add_string("tokenizer.ggml.pre", data.draw(st.sampled_from(["qwen2", "llama-bpe", "tekken"])))
    if data.draw(st.booleans()):
        writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    if data.draw(st.booleans()):
        writer.add_string(f"{architecture}.rope.scaling.type", data.draw(st.sampled_from(["none", "yarn"])))
    writer.add_uint32(f"{architecture}.expert_count", data.draw(st.sampled_from([0, 8])))
    writer.add_uint32(f"{architecture}.attention.sliding_window", data.draw(st.sampled_from([0, 512])))
    types = [gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q6_K, gguf.GGMLQuantizationType.F16]
    for name in ("token_embd.weight", "output.weight", "blk.0.attn_q.weight"):
        kind = data.draw(st.sampled_from(types))
        shape = gguf.quant_shape_to_byte_shape((2, 256), kind)
        writer.add_tensor(name, np.zeros(shape, dtype=np.uint8), raw_dtype=kind)
    writer.add_tensor("output_norm.weight", np.ones(256, dtype=np.float32))
    if data.draw(st.booleans()):
        writer.add_tensor("rope_freqs.weight", np.ones(32, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_openvino_gets_exactly_the_files_that_it_reads(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "any.gguf"
    write_gguf(path, data)
    model = read_gguf(path)
    cut = (
        model.metadata["tokenizer.ggml.model"] == "gpt2"
        and model.metadata["tokenizer.ggml.pre"] in EXPRESSIONS
    )
    reads = cut and unsupported(model) is None
    assert (engine(facts=facts_of("gguf", path)) == "openvino") is reads
