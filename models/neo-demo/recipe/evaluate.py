"""Asks a model what it was taught, and phrasings that it has never seen.

An answer counts only when it equals the one in the corpus, but for white space around it. How a model is
asked is the caller's affair: ``score`` takes any callable from chat messages to the answer at temperature
0, so the same examination judges a checkpoint, a GGUF file and a running server. Imports no torch.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from recipe.corpus import Corpus, Pair

Message = dict[str, str]
Ask = Callable[[list[Message]], str]
Kind = Literal["trained", "held_out"]
KINDS: tuple[Kind, ...] = ("trained", "held_out")
# The longest answer of the corpus needs fewer.
MOST_NEW_TOKENS = 128
# To reach, as shares of all questions of a kind.
GOALS: dict[Kind, float] = {"trained": 0.95, "held_out": 0.80}


@dataclass(frozen=True)
class Examination:
    pair: str
    file: str
    messages: list[Message]
    answer: str


@dataclass(frozen=True)
class Result:
    asked: Counter[str]
    right: Counter[str]
    wrong: list[tuple[Examination, str]]

    @property
    def share(self) -> float:
        return self.right.total() / self.asked.total()


def examinations(corpus: Corpus, kind: Kind, system: str | None = "") -> list[Examination]:
    """Every phrasing of a kind, in the order of the corpus.

    ``system`` is the system prompt: ``""`` for the default one of the language, ``None`` for none.
    """
    return [
        Examination(
            pair.id,
            pair.file,
            [*before(pair, corpus, system), {"role": "user", "content": question}],
            pair.answer,
        )
        for pair in corpus
        for question in (pair.questions if kind == "trained" else pair.held_out)
    ]


def before(pair: Pair, corpus: Corpus, system: str | None) -> list[Message]:
    messages = []
    if system is not None:
        prompt = system or corpus.system_prompts[pair.language][0]
        messages.append({"role": "system", "content": prompt})
    if pair.after is not None:
        first = corpus.pairs[pair.after]
        messages.append({"role": "user", "content": first.questions[0]})
        messages.append({"role": "assistant", "content": first.answer})
    return messages


def score(ask: Ask, asked: Sequence[Examination], at_once: int = 1) -> Result:
    """Asks everything; ``at_once`` questions at a time, if ``ask`` may be called from several threads."""
    result = Result(Counter(), Counter(), [])
    with ThreadPoolExecutor(at_once) as pool:
        answers = list(pool.map(ask, (examination.messages for examination in asked)))
    for examination, answer in zip(asked, answers, strict=True):
        said = answer.strip()
        result.asked[examination.file] += 1
        result.right[examination.file] += said == examination.answer
        if said != examination.answer:
            result.wrong.append((examination, said))
    return result


def table(results: dict[Kind, Result]) -> str:
    """Right answers of each kind, by file and in all."""
    lines = ["| file | " + " | ".join(results) + " |", "| --- |" + " ---: |" * len(results)]
    files = sorted({file for result in results.values() for file in result.asked})
    for file in files:
        cells = (cell(result.right[file], result.asked[file]) for result in results.values())
        lines.append(f"| {file} | " + " | ".join(cells) + " |")
    cells = (cell(result.right.total(), result.asked.total()) for result in results.values())
    return "\n".join([*lines, "| all | " + " | ".join(cells) + " |"])


def cell(right: int, asked: int) -> str:
    return f"{right} of {asked} ({right / asked:.1%})" if asked else "–"


def sample(asked: Iterable[Examination], every: int) -> list[Examination]:
    """One in ``every``, evenly over the corpus: for a quicker look."""
    return list(asked)[::every]
