"""Adapters as the host sees them: named by requests, loaded and unloaded by messages, never mixed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ai_core.engine.backends.llama_cpp.load import load
from ai_core.engine.backends.loading import Loaded
from ai_core.engine.backends.port import Constraint
from ai_core.engine.backends.scripted import load as load_scripted
from ai_core.engine.chat.template import ChatTemplate
from ai_core.engine.constraints.bad_grammar import BadGrammar
from ai_core.engine.constraints.port import Compiler
from ai_core.engine.host import Host
from ai_core.engine.intake import Intake
from ai_core.engine.messages import (
    Accepted,
    AdapterFile,
    AdapterReply,
    EngineConfig,
    Finished,
    Grammar,
    LoadAdapter,
    Message,
    Refused,
    Sampling,
    Step,
    Submit,
    UnloadAdapter,
)
from ai_core_service import DEMO_MODEL
from lora_adapters import write_random_adapter

LONG_PROMPT = (
    "Le contrat de travail à durée indéterminée est la forme normale de la relation de travail. " * 8
)


class NoGrammars(Compiler):
    """There are none here."""

    def start(self, request_id: int, grammar: Grammar, fairness_key: str) -> None:
        raise AssertionError

    def drop(self, request_id: int) -> None:
        raise AssertionError

    def finished(self) -> list[tuple[int, Constraint | BadGrammar]]:
        return []


class Desk:
    """A host over real weights, and everything that it said."""

    def __init__(self, loaded: Loaded) -> None:
        self.said: list[Message] = []
        template = ChatTemplate(loaded.vocabulary.chat_template or "", "", "")
        capabilities = loaded.backend.capabilities()
        self.host = Host(
            loaded.backend,
            loaded.vocabulary,
            Intake(loaded.vocabulary, template, capabilities, adapters=loaded.adapters),
            NoGrammars(),
            max_waiting=8,
            clock=lambda: 0.0,
            send=self.said.append,
        )

    def submit(self, id_: int, adapter: str = "", tokens: int = 4) -> Message:
        sampling = Sampling(temperature=0, ignore_eos=True)
        self.host.receive(
            Submit(id=id_, prompt=LONG_PROMPT, adapter=adapter, max_tokens=tokens, sampling=sampling)
        )
        return self.said[-1]

    def tell(self, message: LoadAdapter | UnloadAdapter) -> AdapterReply:
        self.host.receive(message)
        reply = self.said[-1]
        assert isinstance(reply, AdapterReply)
        assert reply.id == message.id
        return reply

    def started(self) -> list[int]:
        return [id_ for message in self.said if isinstance(message, Step) for id_ in message.started]

    def finish(self) -> dict[int, Finished]:
        while self.host.busy:
            self.host.step()
        steps = [message for message in self.said if isinstance(message, Step)]
        return {finished.id: finished for step in steps for finished in step.finished}


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> list[AdapterFile]:
    folder = tmp_path_factory.mktemp("adapters")
    return [
        AdapterFile(name, str(write_random_adapter(folder / name, seed)))
        for seed, name in enumerate(("letters", "summaries"))
    ]


@pytest.fixture
def desk(adapters: list[AdapterFile], tmp_path: Path) -> Iterator[Desk]:
    (tmp_path / "broken.gguf").touch()
    broken = AdapterFile("broken", str(tmp_path / "broken.gguf"))
    config = EngineConfig(
        model_path=str(DEMO_MODEL), adapters=[*adapters, broken], threads=1, kv_cells=2048, log_level="error"
    )
    loaded = load(config, lambda _progress: None)
    assert isinstance(loaded, Loaded)
    yield Desk(loaded)
    loaded.backend.close()


def test_nobody_waits_for_a_prefix_that_another_adapter_computes(desk: Desk) -> None:
    for id_, adapter in enumerate(("letters", "letters", "", "summaries"), start=1):
        assert isinstance(desk.submit(id_, adapter), Accepted)
    desk.host.step()
    assert desk.started() == [1, 3, 4]
    finished = desk.finish()
    assert finished[2].cached_prompt_tokens > 64
    assert [finished[id_].cached_prompt_tokens for id_ in (1, 3, 4)] == [0, 0, 0]


def test_an_adapter_that_is_not_there_or_cannot_be_used_is_refused_at_once(desk: Desk) -> None:
    for name, code in (("poems", "unknown_adapter"), ("broken", "unusable_adapter")):
        refused = desk.submit(1, name)
        assert isinstance(refused, Refused)
        assert (refused.code, refused.parameter) == (code, "adapter")
    assert isinstance(desk.submit(2, "letters"), Accepted)
    assert desk.finish()[2].completion_tokens == 4


def test_adapters_are_loaded_and_unloaded_while_others_answer(
    desk: Desk, adapters: list[AdapterFile]
) -> None:
    desk.submit(1, "letters", tokens=30)
    desk.host.step()
    busy = desk.tell(UnloadAdapter(1, "letters"))
    assert (busy.problem, busy.adapters) == ("busy", ["letters", "summaries", "broken"])
    assert desk.tell(UnloadAdapter(2, "summaries")).adapters == ["letters", "broken"]
    assert desk.tell(UnloadAdapter(3, "summaries")).problem == "unknown"
    assert isinstance(desk.submit(2, "summaries"), Refused)
    again = desk.tell(LoadAdapter(4, AdapterFile("mails", adapters[1].path)))
    assert (again.problem, again.adapters) == ("", ["letters", "broken", "mails"])
    assert desk.tell(LoadAdapter(5, AdapterFile("mails", adapters[1].path))).problem == "unusable"
    assert isinstance(desk.submit(3, "mails"), Accepted)
    finished = desk.finish()
    assert (finished[1].completion_tokens, finished[3].completion_tokens) == (30, 4)
    assert desk.tell(UnloadAdapter(6, "letters")).problem == ""


def test_an_engine_without_adapters_says_so() -> None:
    backend, vocabulary = load_scripted(EngineConfig(backend="scripted", model_path=""))
    desk = Desk(Loaded(backend, vocabulary, ""))
    for message in (LoadAdapter(1, AdapterFile("letters", "")), UnloadAdapter(2, "letters")):
        reply = desk.tell(message)
        assert (reply.problem, reply.adapters) == ("not_supported", [])
