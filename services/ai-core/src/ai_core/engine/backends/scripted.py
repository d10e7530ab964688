"""A backend without a model: it answers at once with the last user text of the prompt.

It exists to measure what the edge costs over an engine that answers at once, and to test what
happens around an engine that misbehaves. Its vocabulary is bytes, so every length is predictable.
Where a request has a grammar, the first byte that it allows takes the place of one that it refuses;
log probabilities are 0, because nothing is left to chance. The last user text is whatever a model
might say, e.g. thoughts or a call of a function, and may hold directives:

``[[120]]``  answer with 120 tokens of a fixed text.
``[[slow 20]]``  every step in which this sequence takes part lasts 20 ms longer.
``[[fail]]``  this sequence fails, alone.
``[[raise]]``  the step raises: the backend as a whole is broken.
``[[crash]]``, ``[[exit]]``, ``[[hang]]``  the process aborts, ends with status 3, or stands still.
``[[crash-when-with-others]]``  the process aborts as soon as another sequence runs beside this one.
``[[crash-when-read]]``  the process aborts while it turns the text into tokens.
``[[after 5]]``  the misbehaviour waits until 5 tokens of this sequence are out.
"""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NoReturn

import numpy as np

from ai_core.engine.backends.port import (
    Backend,
    BackendStats,
    Capabilities,
    Chances,
    Constraint,
    ConstraintFailed,
    Sequence,
    StepResult,
    Tokens,
    Vocabulary,
)
from ai_core.engine.messages import EngineConfig

_BYTES = 256
_IM_START, _IM_END = 256, 257
_CONTROL = {"<|im_start|>": _IM_START, "<|im_end|>": _IM_END}
_CONTROL_TEXTS = {token: text.encode() for text, token in _CONTROL.items()}
_CONTROL_PATTERN = re.compile("(" + "|".join(re.escape(text) for text in _CONTROL) + ")")
_VOCABULARY_SIZE = _BYTES + len(_CONTROL)
_DEFAULT_CONTEXT = 8192
_USER_TURN = b"user\n"
_FIXED_TEXT = "Le contrat de travail est la loi des parties. "
_DIRECTIVE = re.compile(r"\[\[([a-z-]*) ?(\d*)\]\]")
_EXIT_STATUS = 3
_CRASH_WHEN_READ = "[[crash-when-read]]"

CHATML = (
    "{% for message in messages %}"
    "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class ByteVocabulary:
    """One token per byte of UTF-8, and ChatML's two control tokens."""

    control_texts = frozenset(_CONTROL)
    end_tokens = frozenset({_IM_END})
    bos_text = ""
    eos_text = "<|im_end|>"

    def __init__(self, chat_template: str = CHATML) -> None:
        self.chat_template: str | None = chat_template

    def encode(self, text: str, *, add_bos: bool, parse_special: bool) -> list[int]:
        """Token ids of a text; there is no token that begins a sequence."""
        if _CRASH_WHEN_READ in text:
            os.abort()
        if not parse_special:
            return list(text.encode())
        tokens: list[int] = []
        for part in _CONTROL_PATTERN.split(text):
            tokens += [_CONTROL[part]] if part in _CONTROL else part.encode()
        return tokens

    def piece(self, token: int) -> bytes:
        """The byte, or nothing for a control token."""
        return bytes([token]) if token < _BYTES else b""

    def shown(self, token: int) -> bytes:
        """The byte, or a control token's text."""
        return self.piece(token) or _CONTROL_TEXTS[token]


def _last_user_text(prompt: Tokens) -> str:
    """What the user said last; of a raw prompt, all of it."""
    for start in reversed(np.flatnonzero(prompt == _IM_START).tolist()):
        turn = prompt[start + 1 :]
        if turn[: len(_USER_TURN)].tolist() == list(_USER_TURN):
            ends = np.flatnonzero(turn == _IM_END)
            return _text(turn[len(_USER_TURN) : ends[0] if len(ends) else len(turn)])
    return _text(prompt)


def _text(tokens: Tokens) -> str:
    return tokens[tokens < _BYTES].astype(np.uint8).tobytes().decode(errors="replace")


@dataclass(slots=True)
class _Running:
    sequence: Sequence
    answer: Iterator[int]
    directives: dict[str, int]
    produced: int = 0

    def asks_for(self, directive: str) -> bool:
        return directive in self.directives and self.produced >= self.directives.get("after", 0)


def _start(sequence: Sequence) -> _Running:
    said = _last_user_text(sequence.prompt)
    directives = {name: int(number or 0) for name, number in _DIRECTIVE.findall(said)}
    answer: Iterator[int] = iter(said.encode())
    if "" in directives:
        answer = itertools.islice(itertools.cycle(_FIXED_TEXT.encode()), directives[""])
    if sequence.sampling.ignore_eos:
        answer = itertools.chain(answer, itertools.cycle(_FIXED_TEXT.encode()))
    return _Running(sequence, answer, directives)


def _first_allowed(constraint: Constraint) -> int:
    allowed = constraint.allowed()
    if allowed is None or not len(allowed):
        raise ConstraintFailed("no byte continues the answer as its grammar wants it")
    ends = allowed[allowed == _IM_END]
    return int(ends[0] if len(ends) else allowed[0])


def _hang() -> NoReturn:
    while True:
        time.sleep(3600)


def _exit() -> NoReturn:
    os._exit(_EXIT_STATUS)


def _raise() -> NoReturn:
    raise RuntimeError("the scripted backend was asked to break")


_MISBEHAVIOURS: dict[str, Callable[[], NoReturn]] = {
    "crash": os.abort,
    "exit": _exit,
    "hang": _hang,
    "raise": _raise,
}


def _require(condition: bool, contract: str) -> None:
    if not condition:
        raise AssertionError(f"the backend port was misused: {contract}")


@dataclass(slots=True)
class ScriptedBackend:
    """Implements :class:`.port.Backend`, and raises ``AssertionError`` for whoever breaks its contract."""

    context_length: int
    max_sequences: int
    kv_cells: int
    _running: dict[int, _Running] = field(default_factory=dict)
    _closed: bool = False

    def capabilities(self) -> Capabilities:
        """No prefix is ever held: there is nothing to compute."""
        return Capabilities(
            name="scripted",
            prefix="none",
            reports_prefix=False,
            context_length=self.context_length,
            max_sequences=self.max_sequences,
            kv_cells=self.kv_cells,
            vocabulary=_VOCABULARY_SIZE,
        )

    def count(self, prompt: Tokens, namespace: str) -> int:
        """Always 0."""
        self._require_tokens(prompt)
        return 0

    def submit(self, sequence: Sequence) -> int:
        """Takes a sequence; its first token comes with the next step."""
        self._require_open()
        self._require_tokens(sequence.prompt)
        _require(sequence.id not in self._running, f"sequence {sequence.id} runs already")
        _require(len(self._running) < self.max_sequences, "submit with no free sequence")
        _require(len(sequence.prompt) < self.context_length, "a prompt as long as the context")
        _require(sequence.max_tokens >= 1, "max_tokens below 1")
        self._running[sequence.id] = _start(sequence)
        return 0

    def prioritise(self, sequence_id: int, priority: int) -> None:
        """All sequences advance in every step, so there is nothing to do."""
        _require(sequence_id in self._running, f"sequence {sequence_id} is unknown")

    def cancel(self, sequence_id: int) -> None:
        """Drops a sequence; unknown ids are ignored."""
        self._require_open()
        self._running.pop(sequence_id, None)

    def step(self) -> StepResult:
        """One token for every sequence."""
        self._require_open()
        _require(bool(self._running), "step without a sequence")
        self._misbehave()
        result = StepResult()
        for running in list(self._running.values()):
            self._advance(running, result)
        return result

    def set_threads(self, decode: int, batch: int) -> None:
        """Nothing is computed, so threads change nothing."""
        _require(decode >= 1 and batch >= 1, "fewer than one thread")

    def stats(self) -> BackendStats:
        """Cells as a real backend would use them."""
        cells = sum(len(running.sequence.prompt) + running.produced for running in self._running.values())
        return BackendStats(
            running=len(self._running),
            free_sequences=self.max_sequences - len(self._running),
            kv_cells_used=cells,
        )

    def close(self) -> None:
        """No call may follow."""
        self._running.clear()
        self._closed = True

    def _misbehave(self) -> None:
        running = list(self._running.values())
        pause_ms = sum(one.directives["slow"] for one in running if one.asks_for("slow"))
        if pause_ms:
            time.sleep(pause_ms / 1000)
        for directive, act in _MISBEHAVIOURS.items():
            if any(one.asks_for(directive) for one in running):
                act()
        if len(running) > 1 and any(one.asks_for("crash-when-with-others") for one in running):
            os.abort()

    def _advance(self, running: _Running, result: StepResult) -> None:
        sequence_id = running.sequence.id
        if running.asks_for("fail"):
            result.failed.append((sequence_id, "the scripted backend was asked to fail"))
            del self._running[sequence_id]
            return
        try:
            token = self._next(running)
        except ConstraintFailed as error:
            result.lost_grammar.append((sequence_id, str(error)))
            del self._running[sequence_id]
            return
        if token is not None:
            result.tokens.append((sequence_id, token))
            running.produced += 1
            if running.sequence.chances is not None:
                top = [(token, 0.0)] if running.sequence.chances else []
                result.chances[sequence_id] = Chances(0.0, top)
        end = self._end(running, token)
        if end is not None:
            result.finished.append((sequence_id, end))
            del self._running[sequence_id]

    @staticmethod
    def _next(running: _Running) -> int | None:
        """The next token: of the script, or the first one that the grammar allows instead."""
        token, constraint = next(running.answer, None), running.sequence.constraint
        if constraint is None:
            return token
        if token is None or not constraint.take(token):
            token = _first_allowed(constraint)
            constraint.take(token)
        return token if token < _BYTES else None

    def _end(self, running: _Running, token: int | None) -> Literal["stop", "length"] | None:
        constraint = running.sequence.constraint
        if token is None or (constraint is not None and constraint.complete):
            return "stop"
        room = self.context_length - len(running.sequence.prompt)
        return "length" if running.produced >= min(running.sequence.max_tokens, room) else None

    def _require_open(self) -> None:
        _require(not self._closed, "used after close")

    @staticmethod
    def _require_tokens(prompt: Tokens) -> None:
        _require(prompt.ndim == 1 and prompt.dtype == np.int32, "token ids are a one-dimensional int32 array")
        _require(len(prompt) > 0, "an empty prompt")
        _require(bool(((prompt >= 0) & (prompt < _VOCABULARY_SIZE)).all()), "a token outside the vocabulary")


def load(config: EngineConfig) -> tuple[Backend, Vocabulary]:
    """The backend that ``backend="scripted"`` stands for. ``model_path`` may be a chat template to use
    instead of ChatML (a file ``*.jinja``); no other file is read."""
    path = Path(config.model_path)
    template = path.read_text(encoding="utf-8") if path.suffix == ".jinja" else CHATML
    context_length = config.context_length or _DEFAULT_CONTEXT
    kv_cells = config.kv_cells or context_length * config.max_sequences
    return ScriptedBackend(context_length, config.max_sequences, kv_cells), ByteVocabulary(template)
