"""Which files of a repository are fetched."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_core.catalog.gguf_names import quantization_of
from ai_core.catalog.hub.choice import Choice, DoesNotFit, NothingToFetch, RemoteFile, Wish, choose, is_safe
from ai_core.catalog.hub.sizes import in_words, memory_estimate

GB = 1_000_000_000
QUANTIZED = {
    "m-Q2_K.gguf": 2 * GB,
    "m-Q4_K_M.gguf": 4 * GB,
    "m-Q8_0.gguf": 8 * GB,
    "m-f16.gguf": 16 * GB,
    "mmproj-m-f16.gguf": GB,
    "imatrix.gguf": 1000,
    "README.md": 10,
}


def files(sizes: dict[str, int]) -> list[RemoteFile]:
    return [RemoteFile(name, size, sha256="0" * 64) for name, size in sizes.items()]


def names(choice: Choice) -> list[str]:
    return [file.name for file in choice.files]


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("qwen2.5-0.5b-instruct-q4_k_m.gguf", "Q4_K_M"),
        ("Llama-3.2-1B-Instruct-IQ4_XS.gguf", "IQ4_XS"),
        ("model.Q8_0.gguf", "Q8_0"),
        ("Qwen3-4B-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("Q6_K/model-00001-of-00002.gguf", "Q6_K"),
        ("thing-fp16.gguf", "F16"),
        ("gpt-oss-20b-mxfp4.gguf", "MXFP4"),
        ("BF16/model.gguf", "BF16"),
        ("Qwen2-7B.gguf", ""),
        ("FAQ8_0.gguf", ""),
    ],
)
def test_the_quantization_is_read_from_the_name(name: str, label: str) -> None:
    assert quantization_of(name) == label


def test_the_largest_quantization_that_fits_is_taken_and_said() -> None:
    chosen = choose(files(QUANTIZED), Wish("gguf", budget=6 * GB))
    assert names(chosen) == ["m-Q4_K_M.gguf"]
    assert chosen.main == "m-Q4_K_M.gguf"
    assert chosen.said == (
        "Q4_K_M (4.0 GB) is the largest of 3 quantizations that fits the memory budget of 6.0 GB."
    )


def test_full_precision_is_taken_only_where_it_is_named_or_all_there_is() -> None:
    assert names(choose(files(QUANTIZED), Wish("gguf"))) == ["m-Q8_0.gguf"]
    assert names(choose(files(QUANTIZED), Wish("gguf", pattern="*f16.gguf"))) == ["m-f16.gguf"]
    assert names(choose(files(QUANTIZED), Wish("gguf", quantization="F16"))) == ["m-f16.gguf"]
    only = {"a-F16.gguf": 2 * GB, "a-F32.gguf": 4 * GB}
    assert names(choose(files(only), Wish("gguf", budget=3 * GB))) == ["a-F16.gguf"]


def test_a_preferred_quantization_goes_first_if_it_fits() -> None:
    preferred = choose(files(QUANTIZED), Wish("gguf", quantization="q2_k", budget=6 * GB))
    assert names(preferred) == ["m-Q2_K.gguf"]
    too_large = choose(files(QUANTIZED), Wish("gguf", quantization="Q8_0", budget=6 * GB))
    assert names(too_large) == ["m-Q4_K_M.gguf"]
    assert "Q8_0, which the models file prefers, needs about 9.1 GB" in too_large.said
    missing = choose(files(QUANTIZED), Wish("gguf", quantization="Q5_0", budget=6 * GB))
    assert "Q5_0, which the models file prefers, is not offered" in missing.said


def test_nothing_that_fits_is_refused_with_the_figures() -> None:
    with pytest.raises(DoesNotFit) as refused:
        choose(files(QUANTIZED), Wish("gguf", budget=GB))
    assert "the smallest, Q2_K (2.0 GB), needs about 2.5 GB of memory" in str(refused.value)
    assert "may take 1.0 GB" in str(refused.value)


def test_a_file_that_is_named_is_fetched_though_it_is_too_large_and_that_is_said() -> None:
    chosen = choose(files(QUANTIZED), Wish("gguf", pattern="*q8_0*", budget=GB))
    assert names(chosen) == ["m-Q8_0.gguf"]
    assert "needs about 9.1 GB of memory as it is stored; the model may take 1.0 GB" in chosen.said


def test_all_parts_of_a_split_model_come_and_the_first_is_opened() -> None:
    split = {f"Q4_0/m-{number:05}-of-00003.gguf": GB for number in (3, 1, 2)} | {"m-Q2_K.gguf": GB}
    chosen = choose(files(split), Wish("gguf"))
    assert names(chosen) == [f"Q4_0/m-{number:05}-of-00003.gguf" for number in (1, 2, 3)]
    assert chosen.main == "Q4_0/m-00001-of-00003.gguf"


def test_a_split_model_of_which_a_part_is_missing_is_no_model() -> None:
    split = {f"m-Q8_0-{number:05}-of-00003.gguf": GB for number in (1, 3)} | {"m-Q2_K.gguf": GB}
    assert names(choose(files(split), Wish("gguf"))) == ["m-Q2_K.gguf"]


def test_several_models_in_one_repository_want_a_pattern() -> None:
    two = {"small-Q8_0.gguf": GB, "large-Q8_0.gguf": 2 * GB}
    with pytest.raises(
        NothingToFetch, match=r"small-Q8_0.gguf, large-Q8_0.gguf. Name one file, or a pattern"
    ):
        choose(files(two), Wish("gguf"))
    assert names(choose(files(two), Wish("gguf", pattern="large*"))) == ["large-Q8_0.gguf"]


def test_of_safetensors_the_weights_come_once_with_what_they_need() -> None:
    mistral = {
        "config.json": 600,
        "consolidated.safetensors": 14 * GB,
        "generation_config.json": 100,
        "model-00001-of-00002.safetensors": 7 * GB,
        "model-00002-of-00002.safetensors": 7 * GB,
        "model.safetensors.index.json": 20_000,
        "params.json": 200,
        "tokenizer.json": 2_000_000,
        "tokenizer.model": 500_000,
        "tokenizer_config.json": 1_000,
        "chat_template.jinja": 1_000,
        "pytorch_model.bin": 14 * GB,
        "modeling_own.py": 1_000,
        "onnx/model.onnx": GB,
        "README.md": 10,
        ".gitattributes": 10,
        ".fetched.json": 10,
    }
    chosen = choose(files(mistral), Wish("transformers"))
    left_out = {
        *("consolidated.safetensors", "pytorch_model.bin", "modeling_own.py", "onnx/model.onnx"),
        *("README.md", ".gitattributes", ".fetched.json"),
    }
    assert set(names(chosen)) == set(mistral) - left_out
    assert chosen.main == ""
    assert chosen.said.startswith("safetensors (14.0 GB)")
    trusted = choose(files(mistral), Wish("transformers", remote_code=True))
    assert "modeling_own.py" in names(trusted)


def test_pickled_weights_are_never_fetched() -> None:
    with pytest.raises(NothingToFetch, match="can run any code"):
        choose(files({"config.json": 1, "pytorch_model.bin": GB}), Wish("transformers"))


def test_of_onnx_the_variant_for_this_machine_comes_as_a_folder() -> None:
    phi = {
        "cuda/int4/genai_config.json": 1,
        "cuda/int4/model.onnx.data": 3 * GB,
        "cpu_and_mobile/cpu-int4/genai_config.json": 1,
        "cpu_and_mobile/cpu-int4/model.onnx": 1000,
        "cpu_and_mobile/cpu-int4/model.onnx.data": 2 * GB,
        "cpu_and_mobile/cpu-int4/tokenizer.json": 1,
        "config.json": 1,
    }
    chosen = choose(files(phi), Wish("onnx"))
    assert chosen.main == "cpu_and_mobile/cpu-int4"
    assert set(names(chosen)) == {name for name in phi if name.startswith("cpu_and")}
    assert choose(files(phi), Wish("onnx", pattern="cuda/*")).main == "cuda/int4"
    with pytest.raises(NothingToFetch, match=r"genai_config\.json"):
        choose(files({"model.onnx": GB}), Wish("onnx"))


def test_without_a_type_it_is_what_the_repository_offers() -> None:
    adapter = {"adapter_config.json": 1, "adapter_model.safetensors": 1000, "tokenizer.json": 1}
    assert choose(files(adapter), Wish()).form == "peft"
    assert set(names(choose(files(adapter), Wish()))) == set(adapter)
    assert choose(files(QUANTIZED), Wish()).form == "gguf"
    assert choose(files({"genai_config.json": 1, "model.onnx": 9}), Wish()).form == "onnx"
    assert choose(files({"config.json": 1, "model.safetensors": 9}), Wish()).form == "transformers"
    with pytest.raises(NothingToFetch, match="It is empty"):
        choose([], Wish())


@pytest.mark.parametrize(
    "name", ["../up.gguf", "/etc/x.gguf", "a//b.gguf", ".x.gguf", "a/../b.gguf", "a\\b", "a\nb"]
)
def test_names_that_leave_the_folder_are_never_fetched(name: str) -> None:
    assert not is_safe(name)
    with pytest.raises(NothingToFetch):
        choose(files({name: GB}), Wish("gguf"))


LABELS = st.sampled_from(["Q2_K", "Q3_K_M", "Q4_0", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "F16", "BF16", "F32"])


@given(
    st.dictionaries(LABELS, st.integers(1, 10**12), min_size=2),
    st.integers(0, 10**12),
    st.one_of(st.just("none"), LABELS),
)
def test_whatever_is_offered_the_choice_fits_and_nothing_larger_would(
    offered: dict[str, int], budget: int, preferred: str
) -> None:
    def fits(size: int) -> bool:
        return not budget or memory_estimate(size) <= budget

    quantized = {k: v for k, v in offered.items() if k not in {"F16", "BF16", "F32"}} or offered
    wish = Wish("gguf", quantization=preferred, budget=budget)
    sizes = {f"m-{label}.gguf": size for label, size in offered.items()}
    if preferred in offered and fits(offered[preferred]):
        assert names(choose(files(sizes), wish)) == [f"m-{preferred}.gguf"]
    elif any(fits(size) for size in quantized.values()):
        best = max(size for size in quantized.values() if fits(size))
        assert choose(files(sizes), wish).size == best
    else:
        with pytest.raises(DoesNotFit):
            choose(files(sizes), wish)


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 bytes"), (999, "999 bytes"), (1_500, "1.5 kB"), (999_960, "1.0 MB"), (5_100_000_000, "5.1 GB")],
)
def test_sizes_are_told_as_the_hub_tells_them(count: int, words: str) -> None:
    assert in_words(count) == words
