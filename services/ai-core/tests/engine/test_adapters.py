"""LoRA on real llama.cpp: unlike adapters side by side change nobody's answer and share nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ai_core.engine.backends.adapter_port import BadAdapter
from ai_core.engine.backends.llama_cpp.backend import LlamaCppBackend
from ai_core.engine.backends.llama_cpp.context import Context, ContextSettings
from ai_core.engine.backends.llama_cpp.logs import forward_llama_logs
from ai_core.engine.backends.llama_cpp.model import Model
from ai_core.engine.backends.llama_cpp.scheduler import Limits
from ai_core.engine.backends.port import Sequence, Tokens
from ai_core.engine.messages import AdapterFile, Sampling
from ai_core_service import DEMO_MODEL
from lora_adapters import write_random_adapter

GREEDY = Sampling(temperature=0, ignore_eos=True)
ADAPTERS = ("", "first", "second", "third")
QUESTIONS = (
    "Qu'est-ce qu'un CDI ?",
    "Un contrat oral est-il valable ?",
    "Quelle est la durée légale du travail ?",
    "Combien de congés payés par an ?",
)
LENGTH = 24
CLEAR_LEAD = 0.25
"""Answers are compared up to the first token that does not lead by this: sums that are added up in
another order round differently."""


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    forward_llama_logs("error")
    loaded = Model(DEMO_MODEL, lambda _progress: None)
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[AdapterFile]:
    """Weak enough that answers stay words, strong enough that they become other ones."""
    folder = tmp_path_factory.mktemp("adapters")
    return [
        AdapterFile(name, str(write_random_adapter(folder / name, seed, strength=0.03)))
        for seed, name in enumerate(ADAPTERS[1:])
    ]


Start = Callable[..., LlamaCppBackend]


@pytest.fixture(scope="module")
def start(model: Model, files: list[AdapterFile]) -> Iterator[Start]:
    """Starts backends, all over the same weights and adapters."""
    started: list[tuple[LlamaCppBackend, Context]] = []

    def start_one(cells: int = 2048, places: int = 16) -> LlamaCppBackend:
        ids = places + 8 + 1
        context = Context(model, ContextSettings(kv_cells=cells, sequence_ids=ids, threads=1))
        backend = LlamaCppBackend(
            model,
            context,
            sequence_ids=ids,
            max_sequences=places,
            context_length=min(cells, 512),
            limits=Limits(),
            pause_bytes=1 << 28,
        )
        backend.adapters.offer(files)
        started.append((backend, context))
        return backend

    yield start_one
    for backend, context in started:
        backend.adapters.close()
        context.close()


@dataclass(frozen=True, eq=False)
class Case:
    """A prompt, the adapter to answer it with, and the beginning of the answer that is clear."""

    prompt: Tokens
    adapter: str
    answer: list[int]


def chat(model: Model, question: str) -> Tokens:
    text = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
    return np.asarray(model.vocabulary.encode(text, add_bos=False, parse_special=True), dtype=np.int32)


def submit(backend: LlamaCppBackend, id_: int, prompt: Tokens, adapter: str, length: int = LENGTH) -> int:
    return backend.submit(Sequence(id_, prompt, GREEDY, length, namespace=adapter, adapter=adapter))


def run(backend: LlamaCppBackend) -> dict[int, list[int]]:
    """Step until everybody is answered."""
    said: dict[int, list[int]] = {}
    while backend.stats().running or backend.stats().paused or backend.stats().free_sequences == 0:
        result = backend.step()
        assert not result.failed
        for id_, token in result.tokens:
            said.setdefault(id_, []).append(token)
    return said


@pytest.fixture(scope="module")
def cases(model: Model, start: Start) -> list[Case]:
    """Each question with each adapter, answered with nobody beside it."""
    backend = start(places=1)
    found = []
    for question in QUESTIONS:
        prompt = chat(model, question)
        for adapter in ADAPTERS:
            submit(backend, 0, prompt, adapter)
            answer: list[int] = []
            clear = True
            while len(answer) < LENGTH and clear:
                (drawn,) = (token for _, token in backend.step().tokens)
                second, first = np.partition(backend._context.logits(1)[0], -2)[-2:]
                clear = first - second > CLEAR_LEAD
                answer += [drawn] if clear else []
            backend.cancel(0)
            found.append(Case(prompt, adapter, answer))
    return found


def agrees(said: list[int], case: Case) -> bool:
    return said[: len(case.answer)] == case.answer


def test_each_adapter_answers_in_its_own_way(cases: list[Case]) -> None:
    assert sum(len(case.answer) >= 6 for case in cases) >= 12, "too few clear answers to compare"
    groups = [cases[place : place + len(ADAPTERS)] for place in range(0, len(cases), len(ADAPTERS))]
    assert sum(len({tuple(case.answer[:6]) for case in group}) > 1 for group in groups) >= 3


@pytest.mark.parametrize(("cells", "length", "seed"), [(2048, LENGTH, 1), (512, 80, 2)])
def test_streams_with_unlike_adapters_side_by_side_say_what_each_says_alone(
    start: Start, cases: list[Case], cells: int, length: int, seed: int
) -> None:
    """All at once, and with so few cells that some are paused and come back."""
    backend, chance = start(cells), np.random.default_rng(seed)
    order = chance.permutation(len(cases))
    for id_ in order:
        submit(backend, int(id_), cases[id_].prompt, cases[id_].adapter, length)
    said = run(backend)
    assert [id_ for id_, case in enumerate(cases) if not agrees(said[id_], case)] == []
    assert (backend.stats().pauses > 0) == (cells == 512)


def test_every_stream_gets_a_token_within_a_round_of_groups(start: Start, cases: list[Case]) -> None:
    backend = start()
    for id_, case in enumerate(cases[:12]):
        submit(backend, id_, case.prompt, case.adapter, length=60)
    waiting = dict.fromkeys(range(12), 0)
    begun: set[int] = set()
    for _ in range(120):
        result = backend.step()
        served = {id_ for id_, _ in result.tokens}
        begun |= served
        for id_ in begun:
            waiting[id_] = 0 if id_ in served else waiting[id_] + 1
            assert waiting[id_] < len(ADAPTERS)
    for id_ in range(12):
        backend.cancel(id_)


def test_no_prefix_is_shared_between_adapters(start: Start, model: Model) -> None:
    backend, prompt = start(), chat(model, QUESTIONS[0])
    shared = []
    for id_, adapter in enumerate((*ADAPTERS, *ADAPTERS)):
        shared.append(submit(backend, id_, prompt, adapter))
        run(backend)
    assert shared == [0] * len(ADAPTERS) + [len(prompt) - 1] * len(ADAPTERS)


def test_another_adapter_under_the_same_name_finds_nothing_of_the_one_before(
    start: Start, model: Model, files: list[AdapterFile]
) -> None:
    backend, prompt = start(), chat(model, QUESTIONS[0])
    first, second = files[0], files[1]
    submit(backend, 0, prompt, "second")
    expected = run(backend)[0]
    submit(backend, 1, prompt, "first")
    run(backend)
    before = backend.stats().kv_cells_cached
    backend.adapters.remove("first")
    freed = before - backend.stats().kv_cells_cached
    backend.adapters.add(AdapterFile("first", second.path))
    assert backend.count(prompt, "first") == 0
    assert submit(backend, 2, prompt, "first") == 0
    assert run(backend)[2] == expected
    assert freed >= len(prompt)
    backend.adapters.remove("first")
    backend.adapters.offer([first])


def test_a_scale_of_half_is_half_an_adapter(start: Start, files: list[AdapterFile], model: Model) -> None:
    backend, prompt = start(), chat(model, QUESTIONS[0])
    written = [token for token in range(model.vocabulary_size) if not model.vocabulary.is_end(token)]
    logits = []
    for number, scale in enumerate((0.0, 0.05, 0.1)):
        backend.adapters.add(AdapterFile(f"scaled {scale}", files[0].path, scale))
        submit(backend, number, prompt, f"scaled {scale}", length=1)
        run(backend)
        logits.append(backend._context.logits(1)[0][written])
    submit(backend, 9, prompt, "", length=1)
    run(backend)
    np.testing.assert_array_equal(logits[0], backend._context.logits(1)[0][written])
    small, large = logits[1] - logits[0], logits[2] - logits[0]
    assert np.corrcoef(small, large)[0, 1] > 0.9
    assert 1.7 < np.linalg.norm(large) / np.linalg.norm(small) < 2.3


def test_a_broken_adapter_is_refused_and_the_others_answer_on(
    start: Start, cases: list[Case], tmp_path: Path
) -> None:
    backend = start()
    (tmp_path / "empty.gguf").touch()
    backend.adapters.offer([AdapterFile("empty", str(tmp_path / "empty.gguf"))])
    for _ in range(2):
        with pytest.raises(BadAdapter, match=r"'empty' cannot be used: .*no complete GGUF file"):
            backend.adapters.prepare("empty")
    with pytest.raises(BadAdapter, match="already"):
        backend.adapters.add(AdapterFile("first", "elsewhere"))
    submit(backend, 0, cases[1].prompt, cases[1].adapter)
    assert agrees(run(backend)[0], cases[1])
