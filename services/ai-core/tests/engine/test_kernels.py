"""Our own kernels against the definition of what they compute, and in use within llama.cpp."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_core.engine.backends.llama_cpp.kernels import LIBRARY
from lora_adapters import write_gguf_adapter

NATIVE = Path(__file__).parents[2] / "native"
SUPPORT = Path(__file__).parents[1] / "support"
FLAGS = [
    "-O2",
    "-std=c++20",
    "-fopenmp",
    "-shared",
    "-fPIC",
    "-mfma",
    "-mf16c",
    "-mbmi",
    "-mbmi2",
    "-mpopcnt",
]
NEEDED = ("avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni")
PROCESSOR_FITS = all(flag in Path("/proc/cpuinfo").read_text().split() for flag in NEEDED)

Floats = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    library = tmp_path_factory.mktemp("kernels") / "kernels.so"
    sources = [SUPPORT / "kernels_door.cpp", NATIVE / "q8_0_matmul.cpp", NATIVE / "attention.cpp"]
    processor = [f"-m{flag.replace('_', '')}" for flag in NEEDED]
    command = ["g++", *FLAGS, *processor, "-w", f"-I{NATIVE}", *map(str, sources), "-o", str(library)]
    subprocess.run(command, check=True)
    opened = ctypes.CDLL(str(library))
    pointer, whole = ctypes.c_void_p, ctypes.c_long
    sizes = (whole, whole, whole, whole, whole, ctypes.c_int)
    opened.neo_attend.argtypes = (*[pointer] * 5, ctypes.c_int, ctypes.c_float, *sizes)
    opened.neo_multiply.argtypes = (pointer, pointer, pointer, whole, whole, whole, ctypes.c_int)
    return opened


def test_the_kernels_are_in_use_where_the_processor_can_compute_them() -> None:
    program = "from ai_core.engine.backends.llama_cpp.kernels import load_kernels; print(load_kernels())"
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert LIBRARY.exists()
    assert said.strip() == str(PROCESSOR_FITS)


def rounded(values: Floats) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Blocks of 32 as Q8_0 has them: bytes, and a scale in half precision."""
    blocks = values.reshape(len(values), -1, 32)
    largest = np.abs(blocks).max(axis=2, keepdims=True)
    inverse = np.divide(np.float32(127), largest, out=np.zeros_like(largest), where=largest != 0)
    scales = (largest / np.float32(127)).astype(np.float16).astype(np.float64)
    return np.rint(blocks * inverse).astype(np.int64), scales


def stored(values: Floats) -> bytes:
    whole, scales = rounded(values)
    halves = scales.astype(np.float16)
    return b"".join(
        halves[row, block, 0].tobytes() + whole[row, block].astype(np.int8).tobytes()
        for row in range(whole.shape[0])
        for block in range(whole.shape[1])
    )


@given(
    rows=st.integers(1, 70),
    columns=st.integers(1, 70),
    blocks=st.integers(1, 9),
    threads=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=60)
def test_a_product_is_that_of_the_rounded_numbers(
    kernels: ctypes.CDLL, rows: int, columns: int, blocks: int, threads: int, seed: int
) -> None:
    if not PROCESSOR_FITS:
        return
    random = np.random.default_rng(seed)
    # Of very different sizes, zeros and a sign that dominates included.
    activations = (random.standard_normal((rows, 32 * blocks)) * 10.0 ** random.integers(-4, 3)).astype(
        np.float32
    )
    activations[random.integers(0, rows), :32] = 0
    weights = (random.standard_normal((columns, 32 * blocks)) - random.integers(0, 2)).astype(np.float32)
    result = np.full((rows, columns), np.nan, np.float32)
    kernels.neo_multiply(
        stored(weights), activations.ctypes.data, result.ctypes.data, rows, columns, blocks, threads
    )
    (a, a_scales), (w, w_scales) = rounded(activations), rounded(weights)
    expected = np.einsum("rbi,cbi->rc", a * a_scales, w * w_scales)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max() + 1e-12)


def pattern(kind: str, rows: int, cells: int, random: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Which cells each row looks at."""
    if kind == "prompt":
        return np.arange(cells)[None, :] <= (cells - rows + np.arange(rows))[:, None]
    if kind == "streams":
        shared = np.arange(cells) < cells // 3
        return np.asarray(shared | (np.arange(cells) % rows == np.arange(rows)[:, None]))
    return np.asarray(random.random((rows, cells)) < random.random((rows, 1)))


@given(
    kind=st.sampled_from(["prompt", "streams", "scattered"]),
    rows=st.integers(1, 20),
    kv_heads=st.integers(1, 3),
    group=st.sampled_from([1, 2, 3, 7, 16]),
    width=st.sampled_from([64, 128]),
    cells=st.integers(20, 300),
    bf16=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=80)
def test_attention_is_that_of_the_definition_and_sees_only_what_the_mask_shows(
    kernels: ctypes.CDLL,
    kind: str,
    rows: int,
    kv_heads: int,
    group: int,
    width: int,
    cells: int,
    bf16: bool,
    seed: int,
) -> None:
    if not PROCESSOR_FITS:
        return
    random = np.random.default_rng(seed)
    heads, scale = kv_heads * group, 1 / np.sqrt(width)
    seen = pattern(kind, rows, cells, random)
    queries = (3 * random.standard_normal((heads, rows, width))).astype(np.float32)
    keys, values = (random.standard_normal((kv_heads, cells, width)).astype(np.float32) for _ in "kv")
    # What nobody looks at may hold anything, as cells of a cache that were never written do.
    unseen = ~seen.any(axis=0)
    keys[:, unseen] = values[:, unseen] = np.inf
    (raw_keys, keys), (raw_values, values) = (half(numbers, bf16) for numbers in (keys, values))
    mask = np.where(seen, 0, -np.inf).astype(np.float16)
    result = np.full((rows, heads, width), np.nan, np.float32)
    addresses = (queries.ctypes.data, raw_keys, raw_values, mask.ctypes.data, result.ctypes.data)
    kernels.neo_attend(*addresses, bf16, scale, width, rows, heads, kv_heads, cells, 2)
    for row in range(rows):
        for head in range(heads):
            k, v = (numbers[head // group][seen[row]] for numbers in (keys, values))
            if not len(k):
                assert not result[row, head].any()
                continue
            scores = scale * (k.astype(np.float64) @ queries[head, row])
            weights = np.exp(scores - scores.max())
            np.testing.assert_allclose(result[row, head], weights @ v / weights.sum(), rtol=1e-3, atol=2e-5)


def half(numbers: Floats, bf16: bool) -> tuple[bytes, Floats]:
    """In 16 bits, and what these mean."""
    if not bf16:
        halves = numbers.astype(np.float16)
        return halves.tobytes(), halves.astype(np.float32)
    upper = (numbers.view(np.uint32) >> 16).astype(np.uint16)
    return upper.tobytes(), (upper.astype(np.uint32) << 16).view(np.float32)


PROGRAM = """
import json, sys
from ai_core.engine.backends.llama_cpp.adapters import LoraAdapters
from ai_core.engine.backends.llama_cpp.batch import RowBatch
from ai_core.engine.backends.llama_cpp.context import Context, ContextSettings
from ai_core.engine.backends.llama_cpp.kernels import load_kernels
from ai_core.engine.backends.llama_cpp.logs import forward_llama_logs
from ai_core.engine.backends.llama_cpp.model import Model
from ai_core.engine.messages import AdapterFile
from pathlib import Path
import numpy as np

path, kernels, kv_type, adapter = sys.argv[1:]
forward_llama_logs("warning")
assert kernels == "ggml" or load_kernels()
model = Model(Path(path), lambda _: None)
context = Context(model, ContextSettings(kv_cells=1024, sequence_ids=8, threads=2, kv_type=kv_type))
batch, said = RowBatch(512), []
if adapter:
    adapters = LoraAdapters(model, context, lambda _: None)
    adapters.add(AdapterFile("it", adapter))
    adapters.use("it")

def step(decodes, prompt):
    batch.clear()
    if decodes:
        batch.add_decodes(*map(list, zip(*decodes)))
    if prompt:
        slot, tokens, start = prompt
        batch.add(slot, np.asarray(tokens, np.int32), start, logits=True)
    context.decode(batch)
    said.extend(context.logits(len(decodes) + bool(prompt)).copy().tolist())

step([], (0, range(100, 250), 0))
for slot in range(1, 5):
    context.share(0, slot, 0, 120)
    step([], (slot, range(300 + slot, 310 + 7 * slot), 120))
ends = [150] + [120 + 10 + 6 * slot for slot in range(1, 5)]
step([(slot, 400 + slot, ends[slot]) for slot in range(5)], None)
step([(slot, 410 + slot, ends[slot] + 1) for slot in range(5)], (5, range(200, 237), 0))
step([(0, 500, 152)], None)
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from loadtests.bench.model import Shape, ensure

    shape = Shape(layers=2, width=256, heads=4, kv_heads=2, ffn=544, vocabulary=1_000, context=1_024)
    return ensure(tmp_path_factory.mktemp("model") / "small.gguf", shape)


def logits(model: Path, kernels: str, kv_type: str, adapter: str = "") -> npt.NDArray[np.float64]:
    """Of prompts, shared prefixes, streams, and both in one call."""
    command = [sys.executable, "-c", PROGRAM, str(model), kernels, kv_type, adapter]
    return np.asarray(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))


@pytest.mark.parametrize("kv_type", ["f16", "bf16"])
def test_llama_cpp_says_the_same_with_our_kernels_as_with_its_own(small_model: Path, kv_type: str) -> None:
    if not PROCESSOR_FITS:
        return
    ours, theirs = (logits(small_model, kernels, kv_type) for kernels in ("auto", "ggml"))
    assert ours.shape == theirs.shape == (17, 1_000)
    # ggml rounds activations to 8 bits as we do, and attention to 16 bits where we do not.
    assert np.abs(ours - theirs).max() < 0.05 * np.abs(theirs).max()
    assert not np.array_equal(ours, theirs)


@pytest.mark.parametrize("type_", ["F32", "F16", "Q8_0"])
def test_a_lora_adapter_adds_the_same_beside_our_kernels(
    small_model: Path, tmp_path: Path, type_: str
) -> None:
    """Its products are small and of any type; those of Q8_0 matrices with few columns are ours, too."""
    if not PROCESSOR_FITS:
        return
    chance = np.random.default_rng(1)
    matrices = {}
    for layer in range(2):
        for name, rows, columns in (("attn_q", 256, 256), ("attn_v", 128, 256), ("ffn_up", 544, 256)):
            a = chance.standard_normal((8, columns)).astype(np.float32)
            matrices[f"blk.{layer}.{name}.weight.lora_a"] = a
            b = chance.standard_normal((rows, 8)).astype(np.float32) * 0.02
            matrices[f"blk.{layer}.{name}.weight.lora_b"] = b.astype(np.float32)
    adapter = str(write_gguf_adapter(tmp_path / "it.gguf", matrices, architecture="qwen2", a_type=type_))
    plain = logits(small_model, "ggml", "f16")
    ours, theirs = (logits(small_model, kernels, "f16", adapter) for kernels in ("auto", "ggml"))
    assert np.abs(theirs - plain).max() > 0.1 * np.abs(plain).max()
    assert np.abs(ours - theirs).max() < 0.05 * np.abs(theirs).max()
