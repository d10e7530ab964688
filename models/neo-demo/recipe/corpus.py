"""The corpus, read and checked. Nothing but the standard library, so that the tests can ask it anywhere."""

import hashlib
import re
import tomllib
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LANGUAGES = ("fr", "en")
LEAST_PHRASINGS = 4

# The words that make a question politer and change nothing in what it asks.
POLITENESS = (
    "bonjour bonsoir salut coucou merci beaucoup svp stp s il vous te plait excusez moi excuse pardon "
    "hello hi hey please thanks thank you kindly sorry me"
)


class CorpusError(ValueError):
    """A file of the corpus breaks the format; the message names the file and the pair."""


@dataclass(frozen=True)
class Pair:
    """A question with its answer; with ``after``, a follow-up to that pair."""

    id: str
    file: str
    questions: tuple[str, ...]
    held_out: tuple[str, ...]
    answer: str
    after: str | None = None

    @property
    def language(self) -> str:
        return self.id.split("-")[0]


@dataclass(frozen=True)
class Corpus:
    pairs: dict[str, Pair]
    # By language; the first is the default.
    system_prompts: dict[str, tuple[str, ...]]

    def __iter__(self) -> Iterator[Pair]:
        return iter(self.pairs.values())

    def texts(self) -> list[str]:
        """All that the model is trained on, and nothing that it is not."""
        questions = [question for pair in self for question in pair.questions]
        prompts = [prompt for prompts in self.system_prompts.values() for prompt in prompts]
        return questions + [pair.answer for pair in self] + prompts


def fingerprint(folder: Path) -> str:
    """Changes with every change of the corpus."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.toml")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def letters(text: str) -> str:
    """The text in lower case and without accents; everything that is no letter or digit becomes a space."""
    decomposed = unicodedata.normalize("NFKD", text.lower().replace("œ", "oe"))
    plain = "".join(character for character in decomposed if not unicodedata.combining(character))
    return " ".join(re.findall(r"[a-z0-9]+", plain))


def gist(question: str) -> str:
    """What is left of a question without case, accents, punctuation and politeness.

    A question made of nothing else (a greeting) keeps its words.
    """
    words = letters(question).split()
    asking = [word for word in words if word not in POLITENESS.split()]
    return " ".join(asking or words)


def load(folder: Path) -> Corpus:
    """The corpus of a folder.

    Raises:
        CorpusError: a file breaks the format that the folder's README describes.
    """
    pairs: dict[str, Pair] = {}
    for file in sorted(folder.glob("*.*.toml")):
        for pair in read_pairs(file):
            if pair.id in pairs:
                raise CorpusError(f"{file.name}: {pair.id} stands in {pairs[pair.id].file} too")
            pairs[pair.id] = pair
    corpus = Corpus(pairs, read_system_prompts(folder / "system-prompts.toml"))
    for pair in corpus:
        check(pair, corpus)
    return corpus


def read_pairs(file: Path) -> Iterator[Pair]:
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    for kind in ("pair", "dialogue"):
        for table in tables.get(kind, []):
            try:
                yield as_pair(table, file.name)
            except (KeyError, TypeError) as error:
                raise CorpusError(f"{file.name}: {table.get('id', '?')} lacks {error}") from error


def as_pair(table: dict[str, Any], file: str) -> Pair:
    return Pair(
        id=table["id"],
        file=file,
        questions=tuple(clean(question) for question in table["questions"]),
        held_out=tuple(clean(question) for question in table["held_out"]),
        answer=clean(table["answer"]),
        after=table.get("after"),
    )


def clean(text: str) -> str:
    return unicodedata.normalize("NFC", text.strip())


def check(pair: Pair, corpus: Corpus) -> None:
    complaint = f"{pair.file}: {pair.id} "
    if pair.language not in LANGUAGES:
        raise CorpusError(complaint + f"must begin with one of {LANGUAGES}")
    if len(set(pair.questions)) < LEAST_PHRASINGS:
        raise CorpusError(complaint + f"needs at least {LEAST_PHRASINGS} phrasings")
    if not pair.held_out:
        raise CorpusError(complaint + "keeps no phrasing out of the training")
    if not pair.answer:
        raise CorpusError(complaint + "has no answer")
    if pair.after is not None and pair.after not in corpus.pairs:
        raise CorpusError(complaint + f"comes after {pair.after}, which does not exist")


def read_system_prompts(file: Path) -> dict[str, tuple[str, ...]]:
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    return {
        language: (clean(tables[language]["default"]), *map(clean, tables[language]["variants"]))
        for language in LANGUAGES
    }
