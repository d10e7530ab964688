"""Adapter files: what PEFT writes computes the same in llama.cpp, and what is broken is said to be."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
import pytest
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file as load_numpy
from safetensors.torch import load_file as load_torch
from safetensors.torch import save_file as save_torch

from ai_core.engine.backends.adapter_port import BadAdapter
from ai_core.engine.backends.llama_cpp.adapter_source import BaseModel, gguf_of
from ai_core.engine.backends.llama_cpp.adapters import LoraAdapters
from ai_core.engine.backends.llama_cpp.batch import RowBatch
from ai_core.engine.backends.llama_cpp.context import Context, ContextSettings
from ai_core.engine.backends.llama_cpp.logs import forward_llama_logs
from ai_core.engine.backends.llama_cpp.model import Model
from ai_core.engine.messages import AdapterFile
from ai_core_service import DEMO_MODEL
from lora_adapters import Layout, write_gguf_adapter, write_peft, write_random_adapter

DEMO = BaseModel("qwen3", heads=4, kv_heads=2)
LLAMA = Layout(layers=2, width=64, queries=64, keys=32, feed_forward=96)
PROMPT = [11, 300, 7, 451, 29, 1000, 3]


class Bench:
    """A model and a context to try adapters on."""

    def __init__(self, path: Path, kept: Path | None = None) -> None:
        forward_llama_logs("error")
        self.model = Model(path, lambda _progress: None)
        self.context = Context(self.model, ContextSettings(kv_cells=256, sequence_ids=2, threads=1))
        self.adapters = LoraAdapters(self.model, self.context, lambda _name: None)
        self.adapters.offer([], kept)

    def logits(self, adapter: str = "") -> npt.NDArray[np.float32]:
        """After the prompt, for each of its tokens."""
        batch = RowBatch(64)
        batch.add_whole(0, np.asarray(PROMPT, dtype=np.int32), 0)
        self.context.truncate(0, 0)
        self.adapters.use(adapter)
        self.context.decode(batch)
        return self.context.logits(len(PROMPT)).copy()

    def refusal(self, path: Path) -> str:
        """Why an adapter cannot be used."""
        with pytest.raises(BadAdapter) as caught:
            self.adapters.add(AdapterFile("it", str(path)))
        return str(caught.value)

    def close(self) -> None:
        self.adapters.close()
        self.context.close()
        self.model.close()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept") / "converted"


@pytest.fixture(scope="module")
def bench(kept: Path) -> Iterator[Bench]:
    bench = Bench(DEMO_MODEL, kept)
    yield bench
    bench.close()


# --- PEFT in llama.cpp ----------------------------------------------------------------------------


def write_llama(path: Path, network: transformers.LlamaForCausalLM) -> Path:
    """A GGUF file of a network of the Llama kind, with the demo model's tokens. Rows of queries and keys
    are moved here as llama.cpp's documentation tells it, independent of what is tested."""
    config, reader = network.config, gguf.GGUFReader(DEMO_MODEL)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(256)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10_000.0)
    for name in ("model", "pre", "tokens", "token_type", "merges", "eos_token_id"):
        field = reader.fields[f"tokenizer.ggml.{name}"]
        inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), field.types[0], inner)
    for name, tensor in network.state_dict().items():
        values = tensor.numpy()
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(
            name.split(".")[-2]
        )
        if heads:
            half = len(values) // heads // 2
            order = [h * 2 * half + s * half + i for h in range(heads) for i in range(half) for s in (0, 1)]
            values = values[order]
        writer.add_tensor(gguf_name(name), values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def gguf_name(name: str) -> str:
    found = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 8).get_name(name, (".weight",))
    assert found is not None
    return found


def merged(network: Any, folder: Path, scale_of: Callable[[str], float]) -> torch.Tensor:
    """The logits of the network with the adapter added to its weights by hand."""
    tensors = load_torch(folder / "adapter_model.safetensors")
    with torch.inference_mode():
        for name in [name for name in tensors if ".lora_A." in name]:
            module = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
            product = tensors[name.replace("lora_A", "lora_B")] @ tensors[name]
            network.get_submodule(module).weight += scale_of(module) * product
        logits: torch.Tensor = network(torch.tensor([PROMPT])).logits[0]
        return logits


def test_a_peft_adapter_of_a_llama_computes_what_peft_means(tmp_path: Path) -> None:
    """Query and key rows stand in another order in such files, for each head."""
    torch.manual_seed(3)
    network = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=4096,
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            rms_norm_eps=1e-6,
        )
    ).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, mean=1.0 if parameter.dim() == 1 else 0.0, std=0.2)
    folder = write_random_adapter(
        tmp_path / "peft",
        5,
        strength=0.1,
        layout=LLAMA,
        use_rslora=True,
        alpha_pattern={"q_proj": 8.0, "^model.layers.1.mlp.up_proj": 2.0},
    )
    bench = Bench(write_llama(tmp_path / "llama.gguf", network))
    with torch.inference_mode():
        plain = network(torch.tensor([PROMPT])).logits[0].numpy()
    np.testing.assert_allclose(bench.logits(), plain, atol=0.05, rtol=0.02)
    bench.adapters.add(AdapterFile("it", str(folder)))
    with_adapter = bench.logits("it")
    bench.close()

    def scale(module: str) -> float:
        alpha = 8.0 if module.endswith("q_proj") else 2.0 if module == "model.layers.1.mlp.up_proj" else 4.0
        return alpha / 4**0.5

    expected = merged(network, folder, scale).numpy()
    assert np.abs(expected - plain).max() > 1.0
    np.testing.assert_allclose(with_adapter, expected, atol=0.05, rtol=0.02)


def test_ranks_that_differ_by_module_keep_their_scales(bench: Bench, tmp_path: Path) -> None:
    """Rank 8 with half of its columns empty is rank 4."""
    narrow = write_random_adapter(tmp_path / "narrow", 1, rank=4)
    tensors = load_numpy(narrow / "adapter_model.safetensors")
    wide = {}
    for name, values in tensors.items():
        if "down_proj" in name:
            axis = 0 if ".lora_A." in name else 1
            values = np.concatenate((values, np.zeros_like(values)), axis=axis)  # noqa: PLW2901
        wide[name] = values
    patterns = {"rank_pattern": {"down_proj": 8}, "alpha_pattern": {"down_proj": 8}}
    write_peft(tmp_path / "wide", wide, r=4, lora_alpha=4, **patterns)
    bench.adapters.add(AdapterFile("narrow", str(narrow)))
    bench.adapters.add(AdapterFile("wide", str(tmp_path / "wide")))
    np.testing.assert_allclose(bench.logits("wide"), bench.logits("narrow"), atol=1e-3)
    for name in ("narrow", "wide"):
        bench.adapters.remove(name)


def test_a_conversion_is_kept_and_made_anew_when_the_source_changes(
    bench: Bench, kept: Path, tmp_path: Path
) -> None:
    folder = write_random_adapter(tmp_path / "peft", 21)
    before = set(kept.glob("*"))

    def load() -> set[Path]:
        bench.adapters.add(AdapterFile("it", str(folder)))
        bench.adapters.remove("it")
        return set(kept.glob("*")) - before

    (first,) = load()
    written = first.stat().st_mtime_ns
    assert load() == {first}
    assert first.stat().st_mtime_ns == written
    write_random_adapter(folder, 22)
    assert len(load()) == 2


# --- what cannot be used --------------------------------------------------------------------------


def test_an_adapter_of_another_architecture_is_told_by_name(bench: Bench, tmp_path: Path) -> None:
    matrix = np.zeros((4, 256), np.float32)
    file = write_gguf_adapter(
        tmp_path / "it.gguf",
        {"blk.0.attn_q.weight.lora_a": matrix, "blk.0.attn_q.weight.lora_b": matrix.T.copy()},
        architecture="llama",
    )
    assert "'it' cannot be used: it is for 'llama' models, and this one is a 'qwen3'" in bench.refusal(file)


@pytest.mark.parametrize("layout", [Layout(width=128), Layout(layers=9)], ids=["narrower", "deeper"])
def test_an_adapter_of_another_shape_is_refused(bench: Bench, tmp_path: Path, layout: Layout) -> None:
    said = bench.refusal(write_random_adapter(tmp_path / "it", 1, layout=layout))
    assert "llama.cpp refuses it" in said
    assert "wrong base model" in said


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"peft_type": "IA3"}, "only LORA"),
        ({"use_dora": True}, "DoRA"),
        ({"bias": "all"}, "biases"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out"),
        ({"r": 0}, "'r' in"),
        ({"lora_alpha": "much"}, "'lora_alpha' in"),
        ({"rank_pattern": {"(a+)+$": 4}}, "is an expression"),
    ],
)
def test_what_would_be_lost_in_the_conversion_is_refused(
    bench: Bench, tmp_path: Path, changed: dict[str, Any], reason: str
) -> None:
    folder = write_random_adapter(tmp_path / "it", 1)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | changed))
    assert reason in bench.refusal(folder)


def test_matrices_of_unknown_places_are_refused(bench: Bench, tmp_path: Path) -> None:
    matrix = np.zeros((4, 256), np.float32)
    name = "base_model.model.model.layers.0.self_attn.qkv_proj.lora_A.weight"
    folder = write_peft(tmp_path / "it", {name: matrix}, r=4, lora_alpha=4)
    assert "its place is unknown" in bench.refusal(folder)


def test_a_peft_folder_for_an_architecture_that_is_not_converted_says_what_to_do(tmp_path: Path) -> None:
    folder = write_random_adapter(tmp_path / "it", 1)
    with (
        pytest.raises(BadAdapter, match="convert_lora_to_gguf"),
        gguf_of(folder, BaseModel("gemma3", 4, 2), tmp_path / "kept"),
    ):
        raise AssertionError("it was converted")


@pytest.mark.parametrize("missing", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_folder_that_lacks_a_file_is_refused(bench: Bench, tmp_path: Path, missing: str) -> None:
    folder = write_random_adapter(tmp_path / "it", 1)
    (folder / missing).unlink()
    assert f"has no {missing}" in bench.refusal(folder)


def test_a_model_is_no_adapter_and_nothing_is_nothing(bench: Bench, tmp_path: Path) -> None:
    model = write_gguf_adapter(tmp_path / "model.gguf", {}, kind="model")
    assert "no LoRA adapter" in bench.refusal(model)
    assert "cannot be read" in bench.refusal(tmp_path / "missing.gguf")


# --- files that lie -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """An adapter as GGUF, and its PEFT weights."""
    folder = write_random_adapter(tmp_path_factory.mktemp("honest") / "it", 1, rank=1)
    with gguf_of(folder, DEMO, None) as path:
        return path.read_bytes(), (folder / "adapter_model.safetensors").read_bytes()


no_fixture_check = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@no_fixture_check
@given(data=st.data())
def test_a_damaged_gguf_file_never_ends_the_process(
    bench: Bench, honest: tuple[bytes, bytes], tmp_path: Path, data: st.DataObject
) -> None:
    """Cut short, or with a byte changed in its header; it is refused, or taken for what it says."""
    content = bytearray(honest[0])
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        content[data.draw(st.integers(0, 4_000))] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path / "damaged.gguf"
    path.write_bytes(content)
    try:
        bench.adapters.add(AdapterFile("damaged", str(path)))
    except BadAdapter:
        return
    bench.adapters.remove("damaged")


@no_fixture_check
@given(data=st.data())
def test_safetensors_with_a_damaged_header_never_end_the_process(
    bench: Bench, honest: tuple[bytes, bytes], tmp_path: Path, data: st.DataObject
) -> None:
    content = bytearray(honest[1])
    (length,) = struct.unpack("<Q", content[:8])
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        content[data.draw(st.integers(0, 8 + length - 1))] ^= 1 << data.draw(st.integers(0, 7))
    folder = write_random_adapter(tmp_path / "damaged", 1, rank=1)
    (folder / "adapter_model.safetensors").write_bytes(content)
    try:
        bench.adapters.add(AdapterFile("damaged", str(folder)))
    except BadAdapter:
        return
    bench.adapters.remove("damaged")


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"dtype": "F32", "shape": [1, 256], "data_offsets": [0, 1 << 40]}, "does not lie where"),
        ({"dtype": "F32", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 1024]}, "does not lie where"),
        ({"dtype": "F32", "shape": [-1, 256], "data_offsets": [0, 1024]}, "impossible"),
        ({"dtype": "I64", "shape": [1, 128], "data_offsets": [0, 1024]}, "of type I64"),
        ({"dtype": "F32"}, "not described"),
        ("all of it", "not described"),
    ],
)
def test_a_lying_safetensors_header_is_told(bench: Bench, tmp_path: Path, entry: Any, reason: str) -> None:
    folder = write_random_adapter(tmp_path / "it", 1)
    header = json.dumps({"x": entry}).encode()
    content = struct.pack("<Q", len(header)) + header + bytes(1024)
    (folder / "adapter_model.safetensors").write_bytes(content)
    assert reason in bench.refusal(folder)


def test_half_precision_is_read_exactly(bench: Bench, tmp_path: Path) -> None:
    logits = []
    for number, dtype in enumerate((torch.bfloat16, torch.float32)):
        folder = write_random_adapter(tmp_path / str(number), 1)
        tensors = load_torch(folder / "adapter_model.safetensors")
        rounded = {name: values.bfloat16().to(dtype) for name, values in tensors.items()}
        save_torch(rounded, folder / "adapter_model.safetensors")
        bench.adapters.add(AdapterFile(str(number), str(folder)))
        logits.append(bench.logits(str(number)))
    np.testing.assert_array_equal(logits[0], logits[1])
    for number in range(2):
        bench.adapters.remove(str(number))


def test_an_unloaded_adapter_is_gone_from_the_context(bench: Bench, tmp_path: Path) -> None:
    plain = bench.logits()
    bench.adapters.add(AdapterFile("it", str(write_random_adapter(tmp_path / "it", 1))))
    changed = bench.logits("it")
    bench.adapters.remove("it")
    assert np.abs(changed - plain).max() > 0.5
    np.testing.assert_array_equal(bench.logits(), plain)
