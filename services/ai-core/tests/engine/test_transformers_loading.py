"""What transformers is told to load, and what it is not."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from ai_core.engine.backends.adapter_port import BadAdapter
from ai_core.engine.backends.loading import CannotLoad, Loaded
from ai_core.engine.backends.registry import load
from ai_core.engine.backends.transformers.numbers import computed_in
from ai_core.engine.messages import AdapterFile, EngineConfig
from ai_core_service import QUESTIONS
from lora_adapters import write_peft, write_random_adapter
from model_twins import ModelTwins, change_json, copy_of, replace
from port_rig import PortRig

NEW_CPU = {"avx2", "avx512f", "avx512_bf16"}
OLD_CPU = {"avx2"}


def loaded(path: Path, **config: object) -> Loaded:
    found = load(
        EngineConfig(backend="transformers", model_path=str(path), threads=1, **config),  # type: ignore[arg-type]
        lambda _progress: None,
    )
    assert isinstance(found, Loaded)
    return found


@pytest.mark.parametrize(
    ("stored", "device", "flags", "computed"),
    [
        ("bfloat16", "cpu", NEW_CPU, "bfloat16"),
        ("bfloat16", "cpu", OLD_CPU, "float32"),
        ("float16", "cpu", NEW_CPU, "float32"),
        ("float32", "cpu", NEW_CPU, "float32"),
        ("", "cpu", NEW_CPU, "float32"),
        ("float16", "cuda:0", OLD_CPU, "float16"),
        ("", "cuda", OLD_CPU, "bfloat16"),
    ],
)
def test_numbers_are_those_that_the_device_multiplies(
    stored: str, device: str, flags: set[str], computed: str
) -> None:
    assert computed_in(stored, device, flags) == computed


@pytest.mark.parametrize("quantization", ["int8", "4bit"])
def test_quantized_weights_take_less_memory_and_answer(twins: ModelTwins, quantization: str) -> None:
    usual, less = loaded(twins.safetensors), loaded(twins.safetensors, quantization=quantization)
    assert less.weights_bytes < usual.weights_bytes / 2
    assert quantization in less.description
    rig = PortRig.of(less)
    rig.answer(rig.prompt(QUESTIONS[0]), limit=48)
    assert rig.ended[0] == "stop"
    assert "Neo" in rig.text(0)


def test_progress_only_grows(twins: ModelTwins) -> None:
    steps: list[float] = []
    load(EngineConfig(backend="transformers", model_path=str(twins.safetensors)), steps.append)
    assert len(steps) > 10
    assert all(earlier <= later for earlier, later in pairwise(steps))
    assert steps[-1] == 1.0


def test_code_from_the_folder_runs_only_where_it_is_trusted(twins: ModelTwins, tmp_path: Path) -> None:
    folder = copy_of(twins.safetensors, tmp_path / "copy")
    mark = tmp_path / "it-ran"
    auto = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    change_json(folder / "config.json", auto_map=auto, model_type="our-own-shape")
    code = f"open({str(mark)!r}, 'w').close()\nraise RuntimeError('this model does not want to be loaded')\n"
    replace(folder / "own.py", code.encode())
    with pytest.raises(CannotLoad, match='"trust_remote_code": true'):
        loaded(folder)
    assert not mark.exists()
    with pytest.raises(CannotLoad, match="does not want to be loaded"):
        loaded(folder, trust_remote_code=True)
    assert mark.exists()


def test_tensors_that_are_missing_are_counted(twins: ModelTwins, tmp_path: Path) -> None:
    folder = copy_of(twins.safetensors, tmp_path / "copy")
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"], tensors["model.norm.weight"]
    (folder / "model.safetensors").unlink()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CannotLoad, match=r"lacks 2 of the model's tensors \(model.layers.1.mlp.up_proj"):
        loaded(folder)


def test_files_that_an_index_names_must_be_there(twins: ModelTwins, tmp_path: Path) -> None:
    folder = copy_of(twins.safetensors, tmp_path / "copy")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}))
    with pytest.raises(CannotLoad, match=r"model-2\.safetensors is missing"):
        loaded(folder)
    index.write_text(json.dumps({"weight_map": {"a": "../safetensors/model.safetensors"}}))
    with pytest.raises(CannotLoad, match="names files outside its folder"):
        loaded(folder)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"device": "warp"}, "torch cannot compute on the device 'warp'"),
        ({"context_length": 4096}, "context_length 4096 is more than the model's 2048 tokens"),
        ({"quantization": "3bit"}, "the quantization '3bit' is none of"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    twins: ModelTwins, config: dict[str, object], sentence: str
) -> None:
    with pytest.raises(CannotLoad, match=sentence):
        loaded(twins.safetensors, **config)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"architectures": ["BertForMaskedLM"]}, "type BertForMaskedLM, which generates no text"),
        ({"model_type": "nobody-knows", "architectures": None}, "transformers cannot load"),
        ({"vocab_size": 4000}, "transformers cannot load|do not belong together"),
    ],
)
def test_folders_that_are_no_such_model_are_refused(
    twins: ModelTwins, tmp_path: Path, fields: dict[str, object], sentence: str
) -> None:
    folder = copy_of(twins.safetensors, tmp_path / "copy")
    change_json(folder / "config.json", **fields)
    with pytest.raises(CannotLoad, match=sentence):
        loaded(folder)


def test_pickled_weights_are_not_opened(twins: ModelTwins, tmp_path: Path) -> None:
    folder = copy_of(twins.safetensors, tmp_path / "copy")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CannotLoad, match="PyTorch's own format, which may run code"):
        loaded(folder)


def test_adapters_come_and_go_while_it_runs(twins: ModelTwins, tmp_path: Path) -> None:
    model = loaded(twins.safetensors)
    rig, adapters = PortRig.of(model), model.adapters
    assert adapters is not None
    prompt = rig.prompt(QUESTIONS[2])
    usual = rig.answer(prompt)
    answers = []
    for seed in (1, 2):
        folder = write_random_adapter(tmp_path / str(seed), seed, strength=0.05)
        adapters.add(AdapterFile("changing", str(folder)))
        assert adapters.names() == rig.backend.capabilities().adapters == ("changing",)
        answers.append(rig.answer(prompt, adapter="changing", namespace="changing"))
        assert rig.answer(prompt) == usual
        rig.answer(prompt, adapter="changing", namespace="changing")
        adapters.remove("changing")
        assert rig.answer(prompt) == usual
    assert answers[0] != answers[1]
    assert usual not in answers


def test_an_adapter_counts_for_as_much_as_its_scale_says(twins: ModelTwins, tmp_path: Path) -> None:
    folder = str(write_random_adapter(tmp_path / "loud", 1, strength=0.05))
    files = [AdapterFile("whole", folder), AdapterFile("hardly", folder, 1e-6)]
    rig = PortRig.of(loaded(twins.safetensors, adapters=files))
    prompt = rig.prompt(QUESTIONS[2])
    usual = rig.answer(prompt)
    assert rig.answer(prompt, adapter="hardly", namespace="hardly") == usual
    assert rig.answer(prompt, adapter="whole", namespace="whole") != usual


def test_adapters_that_cannot_be_used_say_why_and_change_nothing(twins: ModelTwins, tmp_path: Path) -> None:
    good = write_random_adapter(tmp_path / "good", 1)
    tensors = load_file(good / "adapter_model.safetensors")
    cases = {
        "must be a folder": tmp_path / "nowhere",
        "only LORA can be used": write_peft(tmp_path / "kind", tensors, peft_type="IA3"),
        "replaces whole modules": write_peft(tmp_path / "modules", tensors, modules_to_save=["lm_head"]),
        "holds no LoRA weights": write_peft(tmp_path / "none", {}, target_modules=["q_proj"]),
        "are no LoRA": write_peft(
            tmp_path / "more", tensors | {"base_model.model.x.y.bias": tensors[next(iter(tensors))]}
        ),
        "cannot be used with this model": write_peft(tmp_path / "rank", tensors, r=7),
    }
    cut = write_peft(tmp_path / "cut", tensors)
    replace(cut / "adapter_model.safetensors", (cut / "adapter_model.safetensors").read_bytes()[:5000])
    cases["no whole safetensors file"] = cut
    model = loaded(twins.safetensors)
    assert model.adapters is not None
    rig = PortRig.of(model)
    usual = rig.answer(rig.prompt(QUESTIONS[2]))
    for sentence, folder in cases.items():
        with pytest.raises(BadAdapter, match=sentence):
            model.adapters.add(AdapterFile("bad", str(folder)))
        assert model.adapters.names() == ()
    assert rig.answer(rig.prompt(QUESTIONS[2])) == usual
    model.adapters.add(AdapterFile("bad", str(good)))
    with pytest.raises(BadAdapter, match="has an adapter 'bad' already"):
        model.adapters.add(AdapterFile("bad", str(good)))
