"""The llama.cpp backend with the demo model: nobody is lost, and nobody's answer is changed by others.

Caches are tiny here, so that within seconds everything happens that takes hours elsewhere: cells run
out, sequences are paused, come back by copy or are computed anew, prefixes are evicted.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from ai_core.engine.backends.llama_cpp.backend import LlamaCppBackend
from ai_core.engine.backends.llama_cpp.batch import RowBatch
from ai_core.engine.backends.llama_cpp.context import Context, ContextSettings, NoRoom
from ai_core.engine.backends.llama_cpp.logs import forward_llama_logs
from ai_core.engine.backends.llama_cpp.model import Model
from ai_core.engine.backends.llama_cpp.scheduler import Limits
from ai_core.engine.backends.port import Sequence, StepResult, Tokens
from ai_core.engine.messages import Sampling
from ai_core_service import DEMO_MODEL

GREEDY = Sampling(temperature=0)
UNENDING = Sampling(temperature=0, ignore_eos=True)
LONGEST_ANSWER = 96
CACHED_IDS = 8
PLENTY_OF_MEMORY = 1 << 28
ROOM_FOR_FEW_COPIES = 600_000
CLEAR_LEAD = 0.5
"""Answers are compared where the likeliest token always leads by this: sums that are added up in another
order round differently."""
SYSTEM_PROMPTS = (
    "",
    """Tu es Neo, l'assistant du Code du travail. Réponds en français, avec courtoisie et clarté. Si tu ne
sais pas, dis-le, et conseille de consulter un professionnel du droit ou l'inspection du travail.""",
    """You are Neo. Answer in the language of the question. Be short, be polite, and never invent an article
of law. When a case is unclear, recommend to ask a lawyer, a union or the labour inspectorate first.""",
)


class CountingContext(Context):
    """Counts the steps that llama.cpp refused for want of cells."""

    refused = 0

    def decode(self, batch: RowBatch) -> None:
        try:
            super().decode(batch)
        except NoRoom:
            self.refused += 1
            raise


@dataclass
class Rig:
    """A backend and the context below it."""

    backend: LlamaCppBackend
    context: CountingContext
    said: dict[int, list[int]] = field(default_factory=dict)
    ended: dict[int, str] = field(default_factory=dict)
    failed: list[tuple[int, str]] = field(default_factory=list)

    def submit(
        self, id_: int, prompt: Tokens, sampling: Sampling = GREEDY, *, limit: int = 0, **more: object
    ) -> int:
        self.said[id_] = []
        options: dict[str, object] = {"max_tokens": limit or LONGEST_ANSWER, **more}
        return self.backend.submit(Sequence(id_, prompt, sampling, **options))  # type: ignore[arg-type]

    def step(self) -> StepResult:
        result = self.backend.step()
        for id_, token in result.tokens:
            self.said[id_].append(token)
        self.ended.update(result.finished)
        self.failed += result.failed
        return result

    def finish(self) -> None:
        """Step until nobody is left. Fails when nothing happens any more."""
        idle = 0
        while self._left():
            result = self.step()
            idle = 0 if result.tokens or result.finished or result.prefix_ready else idle + 1
            assert idle < 50, f"nothing progresses: {self.backend.stats()}"

    def say(self, prompt: Tokens, sampling: Sampling = GREEDY, *, limit: int = 0) -> list[int]:
        """The answer to one prompt, computed with nobody beside it."""
        self.submit(-1, prompt, sampling, limit=limit)
        self.finish()
        return self.said.pop(-1)

    def _left(self) -> int:
        stats = self.backend.stats()
        return self.backend.capabilities().max_sequences - stats.free_sequences


Start = Callable[..., Rig]


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    forward_llama_logs("error")
    loaded = Model(DEMO_MODEL, lambda _progress: None)
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def start(model: Model) -> Iterator[Start]:
    """Starts backends, all over the same weights."""
    contexts: list[Context] = []

    def start_one(
        cells: int = 2048,
        places: int = 16,
        pause_bytes: int = PLENTY_OF_MEMORY,
        *,
        coalesces: bool = True,
    ) -> Rig:
        ids = places + CACHED_IDS + 1
        context = CountingContext(model, ContextSettings(kv_cells=cells, sequence_ids=ids, threads=1))
        contexts.append(context)
        backend = LlamaCppBackend(
            model,
            context,
            sequence_ids=ids,
            max_sequences=places,
            context_length=min(cells, 512),
            limits=Limits(),
            pause_bytes=pause_bytes,
        )
        backend.coalesces = coalesces
        return Rig(backend, context)

    yield start_one
    for context in contexts:
        context.close()


@dataclass(frozen=True, eq=False)
class Case:
    """A conversation and what the model says to it undisturbed."""

    prompt: Tokens
    answer: list[int]


def chat(model: Model, question: str, system: str = "") -> Tokens:
    turns = [("system", system)] if system else []
    text = "".join(f"<|im_start|>{role}\n{said}<|im_end|>\n" for role, said in [*turns, ("user", question)])
    text += "<|im_start|>assistant\n"
    return np.asarray(model.vocabulary.encode(text, add_bos=False, parse_special=True), dtype=np.int32)


def questions() -> list[str]:
    corpus = DEMO_MODEL.parent / "corpus"
    pairs = [
        pair
        for name in ("contrats.fr.toml", "labour-law.en.toml")
        for pair in tomllib.loads((corpus / name).read_text())["pair"]
    ]
    return [str(pair["questions"][0]) for pair in pairs]


@pytest.fixture(scope="module")
def cases(model: Model, start: Start) -> list[Case]:
    chosen = questions()[::4][:20]
    prompts = [chat(model, question, SYSTEM_PROMPTS[n % 3]) for n, question in enumerate(chosen)]
    rig = start(places=1)
    found: list[Case] = []
    for prompt in prompts:
        rig.submit(0, prompt)
        rig.ended.clear()
        lead = np.inf
        while not rig.ended:
            rig.step()
            second, first = np.partition(rig.context.logits(1)[0], -2)[-2:]
            lead = min(lead, float(first - second))
        if lead > CLEAR_LEAD:
            found.append(Case(prompt, rig.said[0]))
    assert len(found) >= 10, "too few clear answers to compare"
    return found


@pytest.fixture(scope="module")
def prompt(model: Model) -> Tokens:
    return chat(model, "Qu'est-ce qu'un contrat de travail ?", SYSTEM_PROMPTS[1])


# --- everybody is answered ------------------------------------------------------------------------


@pytest.mark.parametrize("pause_bytes", [0, ROOM_FOR_FEW_COPIES, PLENTY_OF_MEMORY])
@pytest.mark.parametrize(
    ("cells", "places", "seed"), [(512, 8, 1), (512, 16, 2), (512, 16, 3), (1024, 16, 4)]
)
def test_when_cells_run_out_everybody_still_gets_the_undisturbed_answer(
    start: Start, cases: list[Case], cells: int, places: int, seed: int, pause_bytes: int
) -> None:
    rig, chance = start(cells, places, pause_bytes), np.random.default_rng(seed)
    asked: dict[int, Case] = {}
    left: set[int] = set()
    to_ask = 40
    idle = 0
    while to_ask or len(rig.ended) + len(rig.failed) + len(left) < len(asked):
        # As the host does it: it asks once how many there is place for, and then submits them all.
        for _ in range(
            min(rig.backend.stats().free_sequences, to_ask, int(chance.choice((0, 1, 3, places))))
        ):
            id_ = len(asked)
            asked[id_] = cases[chance.integers(len(cases))]
            rig.submit(id_, asked[id_].prompt, priority=int(chance.choice((0, 0, 0, 5))))
            to_ask -= 1
        here = [id_ for id_ in asked if id_ not in rig.ended and id_ not in left]
        if here and chance.random() < 0.02:
            gone = here[chance.integers(len(here))]
            left.add(gone)
            rig.backend.cancel(gone)
        result = rig.step()
        idle = 0 if result.tokens or result.finished or result.prefix_ready or to_ask else idle + 1
        assert idle < 50, f"nothing progresses: {rig.backend.stats()}"
    assert rig.failed == []
    wrong = [id_ for id_ in asked if id_ not in left and rig.said[id_] != asked[id_].answer]
    assert wrong == []
    assert rig.context.refused == 0, "cells were promised that were not there"
    stats = rig.backend.stats()
    assert (stats.running, stats.paused, stats.free_sequences) == (0, 0, places)
    assert stats.kv_cells_used == stats.kv_cells_cached


@pytest.mark.parametrize("pause_bytes", [0, PLENTY_OF_MEMORY])
def test_pausing_and_coming_back_changes_no_answer(start: Start, cases: list[Case], pause_bytes: int) -> None:
    rig = start(512, 16, pause_bytes)
    for id_, case in enumerate(cases[:16]):
        rig.submit(id_, case.prompt)
    rig.finish()
    assert rig.backend.stats().pauses > 0
    assert rig.failed == []
    assert [rig.said[id_] for id_ in range(len(cases[:16]))] == [case.answer for case in cases[:16]]


@pytest.mark.parametrize("length", [100, 300])
def test_requests_that_wait_for_room_do_not_keep_it_from_those_inside(start: Start, length: int) -> None:
    """Two wait with a cached prefix each, and the one that goes first needs their cells."""
    rig, numbers = start(512, 8), np.random.default_rng(0)
    old = [numbers.integers(300, 4000, 200, dtype=np.int32) for _ in range(2)]
    for tokens in old:
        rig.say(tokens, UNENDING, limit=1)
    rig.submit(0, numbers.integers(300, 4000, length, dtype=np.int32), UNENDING, limit=400 - length)
    for id_, tokens in enumerate(old, start=1):
        rig.submit(id_, np.concatenate((tokens, tokens[:10])), UNENDING, limit=20)
    rig.finish()
    assert rig.failed == []
    assert [len(rig.said[id_]) for id_ in range(3)] == [400 - length, 20, 20]


# --- those who leave ------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_who_leaves_gives_up_their_cells_before_the_next_step(
    start: Start, prompt: Tokens, steps: int
) -> None:
    """Not begun yet, after the prompt, amid the answer."""
    rig = start()
    rig.submit(0, prompt, UNENDING)
    rig.step()
    rig.submit(1, prompt[::-1].copy(), UNENDING)
    for _ in range(steps):
        rig.step()
    rig.backend.cancel(1)
    stats = rig.backend.stats()
    # The newest token of the one who stays is not in the cache yet.
    assert stats.kv_cells_used - stats.kv_cells_cached == len(prompt) + len(rig.said[0]) - 1
    assert (stats.running, stats.free_sequences) == (1, 15)
    assert [id_ for id_, _ in rig.step().tokens] == [0]


def test_who_leaves_while_paused_or_waiting_for_room_is_gone_and_disturbs_nobody(
    start: Start, cases: list[Case]
) -> None:
    rig, few = start(512, 16), cases[:16]
    for id_, case in enumerate(few):
        rig.submit(id_, case.prompt)
    while not rig.backend.stats().paused:
        rig.step()
    stayed = [0, 1]
    for id_ in range(len(few)):
        if id_ not in stayed:
            rig.backend.cancel(id_)
    assert rig.backend.stats().paused == 0
    rig.finish()
    assert [rig.said[id_] for id_ in stayed] == [few[id_].answer for id_ in stayed]
    stats = rig.backend.stats()
    assert stats.kv_cells_used == stats.kv_cells_cached


# --- what is shared -------------------------------------------------------------------------------


def test_a_prompt_that_comes_again_is_not_computed_again(start: Start, prompt: Tokens) -> None:
    rig = start()
    first = rig.submit(0, prompt)
    rig.finish()
    used = rig.backend.stats().kv_cells_used
    again = rig.submit(1, prompt)
    rig.finish()
    assert (first, again) == (0, len(prompt) - 1)
    assert rig.said[0] == rig.said[1]
    assert rig.backend.stats().kv_cells_used == used


def test_without_coalescing_those_who_come_together_compute_everything_themselves(
    start: Start, prompt: Tokens
) -> None:
    cells = {}
    for coalesces in (True, False):
        rig = start(coalesces=coalesces)
        shared = [rig.submit(id_, prompt, UNENDING, limit=8) for id_ in range(4)]
        computed = dict.fromkeys(range(4), 0)
        while not all(rig.said[id_] for id_ in range(4)):
            for id_, ready in rig.step().prefix_ready:
                computed[id_] = ready
        assert shared == [0] * 4
        assert list(computed.values()) == [len(prompt)] * 4
        cells[coalesces] = rig.backend.stats().kv_cells_used
        rig.finish()
        assert len({tuple(said) for said in rig.said.values()}) == 1
        # What they leave behind is kept once, and found by who comes later.
        assert rig.backend.stats().kv_cells_used == len(prompt) + 7
        assert rig.submit(9, prompt) == len(prompt) - 1
        rig.finish()
    assert cells[True] < 2 * len(prompt) < 4 * len(prompt) <= cells[False]


def test_two_namespaces_never_share(start: Start, prompt: Tokens) -> None:
    rig = start()
    rig.submit(0, prompt, namespace="letters")
    rig.finish()
    assert rig.backend.count(prompt, "summaries") == 0
    assert rig.submit(1, prompt, namespace="summaries") == 0
    rig.finish()
    assert rig.said[0] == rig.said[1]


# --- how tokens are chosen ------------------------------------------------------------------------


def test_an_answer_is_cut_at_max_tokens(start: Start, prompt: Tokens) -> None:
    rig = start()
    whole = rig.say(prompt)
    assert len(whole) > 5
    assert rig.say(prompt, limit=5) == whole[:5]
    assert rig.ended[-1] == "length"


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_ignore_eos_goes_on_to_max_tokens(
    start: Start, model: Model, prompt: Tokens, temperature: float
) -> None:
    rig = start()
    assert len(rig.say(prompt)) < LONGEST_ANSWER
    said = rig.say(prompt, Sampling(temperature=temperature, ignore_eos=True))
    assert len(said) == LONGEST_ANSWER
    assert not model.vocabulary.end_tokens.intersection(said)


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_logit_bias_forbids_and_commands_tokens(start: Start, prompt: Tokens, temperature: float) -> None:
    rig = start()
    first = rig.say(prompt)[0]
    forbidden = Sampling(temperature=temperature, logit_bias={first: -100.0})
    assert first not in rig.say(prompt, forbidden)
    commanded = Sampling(temperature=temperature, logit_bias={1234: 100.0})
    assert rig.say(prompt, commanded, limit=3) == [1234, 1234, 1234]


BABBLE = {1234: 60.0, 1235: 58.0, 1236: 56.0}


@pytest.mark.parametrize(
    "penalised",
    [
        Sampling(temperature=0, ignore_eos=True, logit_bias=BABBLE, presence_penalty=20.0),
        Sampling(temperature=0, ignore_eos=True, logit_bias=BABBLE, frequency_penalty=2.0),
        Sampling(temperature=0, ignore_eos=True, logit_bias=BABBLE, repeat_penalty=1.5),
    ],
    ids=["presence", "frequency", "repeat"],
)
def test_penalties_keep_an_answer_from_repeating_itself(
    start: Start, prompt: Tokens, penalised: Sampling
) -> None:
    rig = start()
    babbling = Sampling(temperature=0, ignore_eos=True, logit_bias=BABBLE)
    assert set(rig.say(prompt, babbling, limit=12)) == {1234}
    assert len(set(rig.say(prompt, penalised, limit=12))) > 1


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
def test_a_seed_reproduces_an_answer(start: Start, prompt: Tokens, seed: int) -> None:
    rig = start()
    drawn = Sampling(temperature=2.0, top_p=1.0, seed=seed, ignore_eos=True)
    rig.say(prompt, drawn)
    assert rig.say(prompt, drawn) == rig.say(prompt, drawn)
