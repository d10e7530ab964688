"""LoRA adapters on OpenVINO: what they add is what llama.cpp adds, and unlike ones share every step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ai_core.engine.backends.adapter_port import Adapters, BadAdapter
from ai_core.engine.backends.llama_cpp.load import load as load_llama
from ai_core.engine.backends.loading import Loaded
from ai_core.engine.backends.port import Sequence, Tokens
from ai_core.engine.messages import AdapterFile, EngineConfig
from ai_core_service import DEMO_MODEL
from gguf_twin import write_random_model
from lora_adapters import Layout, write_random_adapter
from openvino_rig import GREEDY, Rig, open_backend

SMALL = Layout(layers=2, width=128, queries=128, keys=64, feed_forward=256)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[AdapterFile]:
    folder = tmp_path_factory.mktemp("adapters")
    loud = write_random_adapter(folder / "loud", 1, strength=0.05)
    odd = write_random_adapter(folder / "odd", 2, strength=0.1)
    return [AdapterFile("loud", str(loud)), AdapterFile("odd", str(odd), 0.5)]


@pytest.fixture(scope="module")
def rig(files: list[AdapterFile], tmp_path_factory: pytest.TempPathFactory) -> Rig:
    return open_backend(DEMO_MODEL, tmp_path_factory.mktemp("prepared"), adapters=files)


def adapters_of(rig: Rig) -> Adapters:
    found = rig.backend.adapters
    assert found is not None
    return found


def llama(model: Path, files: list[AdapterFile]) -> Callable[[Tokens, str], list[float]]:
    """Says the log probabilities of the tokens with which llama.cpp goes on."""
    config = EngineConfig(
        model_path=str(model), threads=1, max_sequences=1, adapters=files, kernels="ggml", log_level="error"
    )
    loaded = load_llama(config, lambda _: None)
    assert isinstance(loaded, Loaded)

    def say(prompt: Tokens, adapter: str) -> list[float]:
        backend = loaded.backend
        backend.submit(Sequence(1, prompt, GREEDY, 8, adapter=adapter, namespace=adapter, chances=0))
        found: list[float] = []
        while backend.stats().running:
            found += [chances.logprob for chances in backend.step().chances.values()]
        return found

    return say


def test_it_adds_what_llama_cpp_adds(rig: Rig, files: list[AdapterFile]) -> None:
    say, prompt = llama(DEMO_MODEL, files), rig.prompt("Bonjour, comment ça va ?")
    for number, adapter in enumerate(("", "loud", "odd")):
        rig.submit(number, prompt, limit=8, adapter=adapter, namespace=adapter, chances=0)
        rig.finish()
        found = [chances.logprob for chances in rig.chances[number]]
        assert found == pytest.approx(say(prompt, adapter), abs=0.05)


def test_unlike_adapters_share_every_step_and_never_each_others_prefix(rig: Rig) -> None:
    prompt = rig.prompt("Bonjour", "Sois bref et poli, et réponds toujours en français. " * 6)
    names = ("", "loud", "odd", "loud")
    alone = {name: rig.say(prompt, limit=12, adapter=name, namespace=f"{name}\0x") for name in set(names)}
    assert len({tuple(answer) for answer in alone.values()}) == 3
    for number, name in enumerate(names):
        assert rig.submit(number, prompt, limit=12, adapter=name, namespace=f"{name}\0y") == 0
    assert len({id_ for id_, _ in rig.step().prefix_ready}) >= 1
    rig.finish()
    assert [rig.said[number] for number in range(4)] == [alone[name] for name in names]


def test_adapters_come_and_go_and_what_was_computed_with_one_that_went_is_not_used_again(
    rig: Rig, tmp_path: Path
) -> None:
    adapters = adapters_of(rig)
    prompt = rig.prompt("Bonjour", "Sois bref et poli, et réponds toujours en français. " * 6)
    answers = []
    for seed in (3, 4):
        adapters.add(AdapterFile("new", str(write_random_adapter(tmp_path / str(seed), seed, strength=0.05))))
        assert adapters.names() == ("loud", "odd", "new")
        assert rig.backend.count(prompt, "new\0") == 0
        answers.append(rig.say(prompt, limit=12, adapter="new", namespace="new\0"))
        assert rig.backend.count(prompt, "new\0") > 0
        with pytest.raises(BadAdapter, match="there is an adapter named 'new' already"):
            adapters.add(AdapterFile("new", str(tmp_path / str(seed))))
        adapters.remove("new")
    assert answers[0] != answers[1]
    assert adapters.names() == ("loud", "odd")


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_each_shape_that_is_read_is_computed_and_adapted_as_by_llama_cpp(
    tmp_path: Path, architecture: str
) -> None:
    model = tmp_path / "model.gguf"
    write_random_model(DEMO_MODEL, model, architecture)
    files = [AdapterFile("odd", str(write_random_adapter(tmp_path / "odd", 5, strength=0.08, layout=SMALL)))]
    rig, say = open_backend(model, tmp_path / "prepared", adapters=files), llama(model, files)
    prompt = rig.prompt("un deux trois quatre cinq six sept huit neuf dix")
    for number, adapter in enumerate(("", "odd")):
        rig.submit(number, prompt, limit=1, adapter=adapter, namespace=adapter, chances=0)
        rig.finish()
        assert rig.chances[number][0].logprob == pytest.approx(say(prompt, adapter)[0], abs=0.1)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "adapter_model.safetensors").unlink(), "has no adapter_model.safetensors"),
        (lambda folder: (folder / "adapter_config.json").write_text("{"), "is no JSON"),
    ],
)
def test_a_broken_adapter_is_refused_when_it_is_asked_for(
    rig: Rig, tmp_path: Path, spoil: Callable[[Path], object], said: str
) -> None:
    folder = write_random_adapter(tmp_path / "broken", 6)
    spoil(folder)
    with pytest.raises(BadAdapter, match=f"the adapter 'broken' cannot be used: .*{said}"):
        adapters_of(rig).add(AdapterFile("broken", str(folder)))


def test_an_adapter_of_another_shape_and_one_in_gguf_are_refused(rig: Rig, tmp_path: Path) -> None:
    small = write_random_adapter(tmp_path / "small", 7, layout=SMALL)
    with pytest.raises(BadAdapter, match=r"its matrices for layers\.0\.\S+ are \(128, \d+\), the model's"):
        adapters_of(rig).add(AdapterFile("small", str(small)))
    longer = write_random_adapter(tmp_path / "longer", 7, layout=Layout(layers=6))
    with pytest.raises(BadAdapter, match="this model has nothing like its 'blk"):
        adapters_of(rig).add(AdapterFile("longer", str(longer)))
    file = tmp_path / "adapter.gguf"
    file.write_bytes(b"GGUF")
    with pytest.raises(BadAdapter, match="OpenVINO takes PEFT's folder"):
        adapters_of(rig).add(AdapterFile("file", str(file)))


def test_a_model_without_adapters_says_that_it_takes_none(tmp_path: Path) -> None:
    rig = open_backend(DEMO_MODEL, tmp_path)
    assert rig.backend.adapters is None
    assert rig.backend.capabilities().missing == {"adapter"}
