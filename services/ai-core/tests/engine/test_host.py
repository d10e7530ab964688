"""The host: who gets a turn, what is said, and what becomes of those who leave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ai_core.engine.backends.port import (
    BackendStats,
    Capabilities,
    Constraint,
    Sequence,
    StepResult,
    Tokens,
)
from ai_core.engine.backends.scripted import ByteVocabulary
from ai_core.engine.chat.template import ChatTemplate
from ai_core.engine.constraints.bad_grammar import BadGrammar
from ai_core.engine.host import Host
from ai_core.engine.intake import Intake
from ai_core.engine.messages import (
    Accepted,
    Cancel,
    ChatMessage,
    Finished,
    Grammar,
    Message,
    Read,
    Refused,
    Sampling,
    Step,
    Submit,
)

TEMPLATE = ChatTemplate("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", "", "")
CHUNK = 32


class CountingBackend:
    """Computes prompts in chunks, reports prefixes, says the alphabet; remembers what it was asked."""

    def __init__(self, places: int) -> None:
        self.places = places
        self.computed: dict[int, int] = {}
        self.sequences: dict[int, Sequence] = {}
        self.said: dict[int, int] = {}
        self.held: list[Tokens] = []
        self.prompt_tokens_computed = 0
        self.priorities: dict[int, int] = {}

    def capabilities(self) -> Capabilities:
        return Capabilities("counting", "any", True, 2048, self.places, 9999, 258)

    def count(self, prompt: Tokens, namespace: str) -> int:
        return max((_common(prompt[:-1], held) for held in self.held), default=0)

    def submit(self, sequence: Sequence) -> int:
        assert len(self.sequences) < self.places
        shared = self.count(sequence.prompt, "")
        self.sequences[sequence.id] = sequence
        self.computed[sequence.id] = shared
        self.said[sequence.id] = 0
        return shared

    def prioritise(self, sequence_id: int, priority: int) -> None:
        self.priorities[sequence_id] = priority

    def cancel(self, sequence_id: int) -> None:
        self.sequences.pop(sequence_id, None)

    def step(self) -> StepResult:
        assert self.sequences
        result = StepResult()
        for id_, sequence in list(self.sequences.items()):
            rest = len(sequence.prompt) - self.computed[id_]
            if rest:
                chunk = min(CHUNK, rest)
                self.computed[id_] += chunk
                self.prompt_tokens_computed += chunk
                self.held.append(sequence.prompt[: self.computed[id_]])
                result.prefix_ready.append((id_, self.computed[id_]))
            if self.computed[id_] == len(sequence.prompt):
                result.tokens.append((id_, ord("a") + self.said[id_] % 26))
                self.said[id_] += 1
                if self.said[id_] == sequence.max_tokens:
                    result.finished.append((id_, "length"))
                    del self.sequences[id_]
        return result

    def set_threads(self, decode: int, batch: int) -> None:
        raise NotImplementedError

    def stats(self) -> BackendStats:
        return BackendStats(running=len(self.sequences), free_sequences=self.places - len(self.sequences))

    def close(self) -> None:
        self.sequences.clear()


class SilentBackend(CountingBackend):
    """Says nothing of prefixes while it computes them, and only in its first step how much it had already."""

    def __init__(self, places: int) -> None:
        super().__init__(places)
        self.found: dict[int, int] = {}

    def capabilities(self) -> Capabilities:
        return replace(super().capabilities(), reports_prefix=False)

    def submit(self, sequence: Sequence) -> int:
        self.found[sequence.id] = super().submit(sequence)
        return 0

    def step(self) -> StepResult:
        result = super().step()
        result.prefix_ready.clear()
        result.reused, self.found = list(self.found.items()), {}
        return result


class SlowCompiler:
    """Compiles nothing, and tells what became of it when a test says so."""

    def __init__(self) -> None:
        self.waiting: dict[int, Grammar] = {}
        self.done: list[tuple[int, Constraint | BadGrammar]] = []

    def start(self, request_id: int, grammar: Grammar, fairness_key: str) -> None:
        self.waiting[request_id] = grammar

    def drop(self, request_id: int) -> None:
        del self.waiting[request_id]

    def finished(self) -> list[tuple[int, Constraint | BadGrammar]]:
        done, self.done = self.done, []
        return done

    def give(self, request_id: int, result: Constraint | BadGrammar) -> None:
        del self.waiting[request_id]
        self.done.append((request_id, result))


class NoVowels:
    """A constraint; the backend here does not ask it."""

    complete = False

    def take(self, token: int) -> bool:
        return chr(token) not in "aeiouy"

    def allowed(self) -> Tokens | None:
        return None

    def among(self, tokens: Tokens, most: int) -> Tokens:
        return tokens[:most]


def _common(first: Tokens, second: Tokens) -> int:
    length = min(len(first), len(second))
    differ = np.flatnonzero(first[:length] != second[:length])
    return int(differ[0]) if len(differ) else length


class World:
    """A host, its clock, and everything that it said."""

    def __init__(
        self, places: int = 4, max_waiting: int = 100, backend: type[CountingBackend] = CountingBackend
    ) -> None:
        self.now = 100.0
        self.sent: list[Message] = []
        self.backend = backend(places)
        self.compiler = SlowCompiler()
        vocabulary = ByteVocabulary()
        self.host = Host(
            self.backend,
            vocabulary,
            Intake(vocabulary, TEMPLATE, self.backend.capabilities()),
            self.compiler,
            max_waiting=max_waiting,
            clock=lambda: self.now,
            send=self.sent.append,
        )

    def submit(self, id_: int, prompt: str = "hello", **options: Any) -> None:
        self.host.receive(Submit(id=id_, prompt=prompt, sampling=Sampling(), **{"max_tokens": 3, **options}))

    def run(self, until: Callable[[], bool] | None = None) -> None:
        for _ in range(10_000):
            if not self.host.busy or (until and until()):
                return
            self.host.step()
        pytest.fail("the host never came to rest")

    def steps(self) -> list[Step]:
        return [message for message in self.sent if isinstance(message, Step)]

    def text(self, id_: int) -> str:
        deltas = [delta.text for step in self.steps() for delta in step.deltas if delta.id == id_]
        return "".join(deltas) + "".join(end.text for end in self.ends() if end.id == id_)

    def ends(self) -> list[Finished]:
        return [end for step in self.steps() for end in step.finished]

    def started(self) -> list[int]:
        return [id_ for step in self.steps() for id_ in step.started]


def test_a_request_is_accepted_started_answered_and_ended() -> None:
    world = World()
    world.submit(1)
    world.run()
    assert world.sent[0] == Accepted(1, 5)
    assert world.started() == [1]
    assert world.text(1) == "abc"
    (end,) = world.ends()
    assert (end.id, end.reason, end.completion_tokens) == (1, "length", 3)


def test_suspects_are_named_before_the_step_that_they_might_crash() -> None:
    world = World()
    world.submit(1)
    said_before_step: list[list[int]] = []
    step = world.backend.step

    def noting_step() -> StepResult:
        said_before_step.append(world.started())
        return step()

    world.backend.step = noting_step  # type: ignore[method-assign]
    world.run()
    assert said_before_step[0] == [1]


def test_a_long_prefix_that_many_share_is_computed_once() -> None:
    world = World(places=8)
    system = "s" * 640
    for id_ in range(8):
        world.submit(id_, system + f"{id_}!")
    world.run()
    assert len(world.ends()) == 8
    assert world.backend.prompt_tokens_computed <= 640 + 8 * (2 + CHUNK)


def test_a_backend_that_reports_no_prefix_computes_a_long_one_once_too() -> None:
    world = World(places=8, backend=SilentBackend)
    system = "s" * 640
    for id_ in range(8):
        world.submit(id_, system + f"{id_}!")
    world.run()
    assert len(world.ends()) == 8
    assert world.backend.prompt_tokens_computed <= 640 + 8 * (2 + CHUNK)


def test_what_a_backend_had_already_is_told_as_it_turns_out_not_as_it_was_estimated() -> None:
    world = World(places=8, backend=SilentBackend)
    for id_ in range(2):
        world.submit(id_, "s" * 640 + f"{id_}!")
    world.run()
    cached = {end.id: end.cached_prompt_tokens for end in world.ends()}
    assert cached[0] == 0
    # Nobody waits for the last few tokens.
    assert 640 - 64 < cached[1] <= 640
    assert world.host.stats().prefix_hits == cached[1]


def test_without_coalescing_everybody_computes_the_prefix() -> None:
    world = World(places=8)
    world.host.coalesces = False
    for id_ in range(8):
        world.submit(id_, "s" * 640 + f"{id_}!")
    world.run()
    assert world.backend.prompt_tokens_computed >= 8 * 640


def test_a_more_urgent_waiter_pulls_up_the_one_whose_prefix_it_needs() -> None:
    world = World()
    world.submit(1, "s" * 640 + "a", priority=0)
    world.host.step()
    world.submit(2, "s" * 640 + "b", priority=7)
    world.host.step()
    assert world.backend.priorities == {1: 7}


def test_when_the_one_computing_a_prefix_leaves_another_takes_over() -> None:
    world = World()
    world.submit(1, "s" * 640 + "a")
    world.host.step()
    world.submit(2, "s" * 640 + "b")
    world.submit(3, "s" * 640 + "c")
    world.host.step()
    world.host.receive(Cancel(1))
    world.run()
    assert world.text(2) == world.text(3) == "abc"


def test_one_key_with_many_requests_does_not_hold_up_another_keys_single_one() -> None:
    world = World(places=1)
    for id_ in range(10):
        world.submit(id_, fairness_key="busy")
    world.submit(99, fairness_key="quiet")
    world.run()
    assert world.started().index(99) <= 2


def test_a_cancelled_request_says_nothing_more_and_frees_its_place_in_the_next_step() -> None:
    world = World(places=1)
    world.submit(1, max_tokens=1000)
    world.submit(2)
    world.run(until=lambda: len(world.text(1)) == 5)
    world.host.receive(Cancel(1))
    world.host.step()
    assert world.text(1) == "abcde"
    assert [(end.id, end.reason) for end in world.ends()] == [(1, "cancelled")]
    assert 2 in world.backend.sequences


def test_a_waiting_request_can_be_cancelled_and_never_starts() -> None:
    world = World(places=1)
    world.submit(1)
    world.submit(2)
    world.host.receive(Cancel(2))
    world.run()
    assert world.started() == [1]
    assert {end.id: end.reason for end in world.ends()} == {1: "length", 2: "cancelled"}


def test_unknown_ids_are_ignored_when_cancelled() -> None:
    world = World()
    world.host.receive(Cancel(12345))
    assert not world.host.busy


def test_a_stop_string_ends_the_answer_before_it_and_frees_the_sequence() -> None:
    world = World()
    world.submit(1, max_tokens=20, stop=["de"])
    world.run()
    assert world.text(1) == "abc"
    (end,) = world.ends()
    assert (end.reason, end.completion_tokens) == ("stop", 5)
    assert world.backend.sequences == {}


def test_what_was_held_back_for_a_stop_string_comes_at_the_end() -> None:
    world = World()
    world.submit(1, max_tokens=4, stop=["dz"])
    world.run()
    assert world.text(1) == "abcd"


def test_a_request_past_its_deadline_fails_without_having_started() -> None:
    world = World(places=1)
    world.submit(1, max_tokens=50)
    world.submit(2, timeout=10.0)
    world.host.step()
    world.now += 11
    world.run()
    failed = [failure for step in world.steps() for failure in step.failed]
    assert [(failure.id, failure.code) for failure in failed] == [(2, "timeout")]
    assert world.started() == [1]


def test_a_suspect_runs_alone() -> None:
    world = World()
    world.submit(1, max_tokens=5)
    world.submit(2, max_tokens=5, alone=True)
    world.submit(3, max_tokens=5)
    together: list[set[int]] = []
    while world.host.busy:
        world.host.step()
        together.append(set(world.backend.sequences))
    assert all(group == {2} for group in together if 2 in group)
    assert {end.id for end in world.ends()} == {1, 2, 3}


def test_one_more_than_may_wait_is_refused() -> None:
    world = World(places=1, max_waiting=2)
    for id_ in range(3):
        world.submit(id_)
    refusal = world.sent[-1]
    assert isinstance(refusal, Refused)
    assert (refusal.id, refusal.code) == (2, "queue_full")


@pytest.mark.parametrize(
    ("submit", "code", "parameter"),
    [
        (Submit(id=1, prompt=""), "invalid_prompt", "prompt"),
        (Submit(id=1, prompt="a" * 2048), "context_length_exceeded", "prompt"),
        (Submit(id=1, prompt="a" * 10_000_000), "context_length_exceeded", "prompt"),
        (Submit(id=1, messages=[ChatMessage("user", "a" * 3000)]), "context_length_exceeded", "messages"),
        (
            Submit(id=1, prompt="a", sampling=Sampling(logit_bias={258: 1.0})),
            "invalid_parameter",
            "logit_bias",
        ),
    ],
)
def test_what_can_never_be_answered_is_refused_by_name(submit: Submit, code: str, parameter: str) -> None:
    world = World()
    world.host.receive(submit)
    (refusal,) = world.sent
    assert isinstance(refusal, Refused)
    assert (refusal.code, refusal.parameter) == (code, parameter)
    assert not world.host.busy


def test_the_answer_is_cut_to_what_the_context_leaves() -> None:
    world = World()
    world.submit(1, "a" * 2040, max_tokens=500)
    world.run()
    assert len(world.text(1)) == 8


JSON = Grammar("json_schema", "{}")


def test_a_request_with_a_grammar_is_accepted_when_that_is_compiled_and_nobody_waits_for_it() -> None:
    world = World()
    world.submit(1, grammar=JSON)
    world.submit(2)
    world.run()
    assert world.text(2) == "abc"
    assert world.sent[0] == Read(1)
    assert [message for message in world.sent if isinstance(message, Accepted)] == [Accepted(2, 5)]
    constraint = NoVowels()
    world.compiler.give(1, constraint)
    world.host.take_compiled()
    assert world.sent[-1] == Accepted(1, 5)
    world.host.step()
    assert world.backend.sequences[1].constraint is constraint
    world.run()
    assert [end.id for end in world.ends()] == [2, 1]


@pytest.mark.parametrize(
    ("grammar", "code", "parameter"),
    [
        (JSON, "invalid_json_schema", "response_format"),
        (Grammar("json_object"), "invalid_json_schema", "response_format"),
        (Grammar("gbnf", "root ::="), "invalid_grammar", "grammar"),
    ],
)
def test_a_grammar_that_cannot_be_compiled_is_a_refusal_that_names_the_field(
    grammar: Grammar, code: str, parameter: str
) -> None:
    world = World()
    world.submit(1, grammar=grammar)
    world.compiler.give(1, BadGrammar("the keyword 'not' is not supported", "/anyOf/1"))
    world.host.take_compiled()
    refused = world.sent[-1]
    assert isinstance(refused, Refused)
    assert (refused.id, refused.code, refused.parameter) == (1, code, parameter)
    assert "at /anyOf/1: the keyword 'not' is not supported" in refused.message
    assert not world.host.busy


def test_who_leaves_while_the_grammar_is_compiled_is_told_so_and_forgotten() -> None:
    world = World()
    world.submit(1, grammar=JSON)
    world.host.receive(Cancel(1))
    world.run()
    assert [(end.id, end.reason) for end in world.ends()] == [(1, "cancelled")]
    assert not world.compiler.waiting
    assert not world.host.stats().waiting


def test_requests_whose_grammars_are_compiled_count_as_waiting_ones() -> None:
    world = World(max_waiting=2)
    for id_ in (1, 2, 3):
        world.submit(id_, grammar=JSON)
    assert [message.id for message in world.sent if isinstance(message, Refused)] == [3]
    assert world.host.stats().waiting == 2


def test_a_wait_that_took_too_long_counts_from_the_arrival() -> None:
    world = World()
    world.submit(1, grammar=JSON, timeout=5.0)
    world.now += 6
    world.compiler.give(1, NoVowels())
    world.host.take_compiled()
    world.run()
    assert [failed.code for step in world.steps() for failed in step.failed] == ["timeout"]


def test_ignore_eos_does_not_go_with_a_grammar() -> None:
    world = World()
    sampling = Sampling(ignore_eos=True)
    world.host.receive(Submit(id=1, prompt="x", sampling=sampling, grammar=JSON))
    refused = world.sent[-1]
    assert isinstance(refused, Refused)
    assert refused.parameter == "ignore_eos"


def test_a_lost_grammar_ends_its_own_request_only() -> None:
    world = World()
    world.submit(1, grammar=Grammar("gbnf", "…"), max_tokens=9)
    world.submit(2)
    world.compiler.give(1, NoVowels())
    world.host.take_compiled()
    step = world.backend.step

    def losing() -> StepResult:
        result = step()
        if world.backend.sequences.pop(1, None) is not None:
            result.tokens = [pair for pair in result.tokens if pair[0] != 1]
            result.lost_grammar.append((1, "too many items"))
        return result

    world.backend.step = losing  # type: ignore[method-assign]
    world.run()
    (failed,) = [failed for step in world.steps() for failed in step.failed]
    assert (failed.id, failed.code, failed.parameter) == (1, "grammar_too_complex", "grammar")
    assert "too many items" in failed.message
    assert world.text(2) == "abc"
