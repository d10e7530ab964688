"""Which files of a repository make the model that is wanted. Pure: from a list of files to a part of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from ai_core.catalog.gguf_names import (
    FULL_PRECISION,
    is_model,
    part_of,
    preferred_quantization,
    quantization_of,
)
from ai_core.catalog.hub.sizes import in_words, memory_estimate
from ai_core.catalog.places import matches

Form = Literal["gguf", "transformers", "onnx", "peft"]
"""``transformers``: safetensors with their configuration; ``peft``: a LoRA adapter."""

GENAI_CONFIG = "genai_config.json"
_SHARD = re.compile(r"^model-\d{5}-of-\d{5}\.safetensors$")
_WITH_WEIGHTS = (".json", ".jinja", ".model")
_TEXTS = ("merges.txt", "vocab.txt")
_NOT_FOR_US = ("consolidated", "adapter_model", "training_args", "optimizer")
"""Beginnings of weights that a repository has beside the model's own: Mistral's second copy, for instance."""
_MAX_LISTED = 12


class NothingToFetch(Exception):
    """The repository does not hold what is wanted; the text says what it holds and what to do."""


class DoesNotFit(NothingToFetch):
    """Whatever the repository offers needs more memory than the budget has."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a repository. Large ones have a SHA-256, small ones git's own SHA-1."""

    name: str
    size: int
    sha256: str = ""
    git_sha1: str = ""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted of a repository."""

    form: Form | None = None
    """None: what it offers, GGUF first."""
    pattern: str = ""
    quantization: str = "none"
    budget: int = 0
    """Bytes of memory that the model may take; 0: not known."""
    remote_code: bool = False
    """The operator trusts the repository's Python files."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What is fetched. ``main``: what an engine opens, in the repository's folder; empty: that folder."""

    form: Form
    files: tuple[RemoteFile, ...]
    main: str
    said: str
    """Why these, for a person."""

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


@dataclass(frozen=True, slots=True)
class _Candidate:
    label: str
    main: str
    files: tuple[RemoteFile, ...]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def memory(self) -> int:
        return memory_estimate(self.size)

    @property
    def name(self) -> str:
        """For a person."""
        return self.label or self.main


def choose(files: Sequence[RemoteFile], wish: Wish) -> Choice:
    """The files to fetch.

    Raises:
        NothingToFetch: the repository has nothing of that form, or several models and no pattern says which.
        DoesNotFit: several quantizations, and all of them are too large.
    """
    visible = [file for file in files if is_safe(file.name)]
    match wish.form or _offered(visible):
        case "gguf":
            return _gguf(visible, wish)
        case "onnx":
            return _onnx(visible, wish)
        case "peft":
            return _adapter(visible)
        case _:
            return _safetensors(visible, wish)


def is_safe(name: str) -> bool:
    """Whether a name from a repository stays in its folder, and is none of ours or hidden."""
    parts = name.split("/")
    return all(
        part and not part.startswith(".") and part.isprintable() and "\\" not in part for part in parts
    )


def _offered(files: Sequence[RemoteFile]) -> Form:
    names = [file.name for file in files]
    if any(is_model(name) for name in names):
        return "gguf"
    if "adapter_config.json" in names:
        return "peft"
    if any(PurePosixPath(name).name == GENAI_CONFIG for name in names):
        return "onnx"
    return "transformers"


def _gguf(files: Sequence[RemoteFile], wish: Wish) -> Choice:
    candidates = [each for each in _ggufs(files) if matches(each.main, wish.pattern)]
    if not candidates:
        which = f" that fits '{wish.pattern}'" if wish.pattern else ""
        raise NothingToFetch(f"The repository has no GGUF file{which}. {_listing(files)}")
    chosen, said = _best(candidates, wish, "quantization")
    return Choice("gguf", chosen.files, chosen.main, said)


def _ggufs(files: Sequence[RemoteFile]) -> list[_Candidate]:
    """Whole files, and split models of which all parts are there."""
    split: dict[tuple[str, int], dict[int, RemoteFile]] = {}
    found = []
    for file in files:
        if not is_model(file.name):
            continue
        if (part := part_of(file.name)) is None:
            found.append(_Candidate(quantization_of(file.name), file.name, (file,)))
        else:
            split.setdefault((part.stem, part.count), {})[part.number] = file
    for (_, count), parts in split.items():
        if sorted(parts) == list(range(1, count + 1)):
            ordered = tuple(parts[number] for number in range(1, count + 1))
            found.append(_Candidate(quantization_of(ordered[0].name), ordered[0].name, ordered))
    return sorted(found, key=lambda each: (each.size, each.main))


def _onnx(files: Sequence[RemoteFile], wish: Wish) -> Choice:
    folders = [file.name.removesuffix(GENAI_CONFIG) for file in files if _base(file.name) == GENAI_CONFIG]
    folders = [folder for folder in folders if matches(folder + GENAI_CONFIG, wish.pattern)]
    if not wish.pattern:
        folders = [folder for folder in folders if "cpu" in folder.lower()] or folders
    if not folders:
        raise NothingToFetch(
            f"The repository has no {GENAI_CONFIG}, which onnxruntime-genai needs beside a model. "
            f"{_listing(files)}"
        )
    candidates = [
        _Candidate(
            folder.rstrip("/") or "ONNX",
            folder.rstrip("/"),
            tuple(file for file in files if file.name.startswith(folder) and _in_folder(file.name, folder)),
        )
        for folder in folders
    ]
    chosen, said = _best(sorted(candidates, key=lambda each: (each.size, each.main)), wish, "variant")
    return Choice("onnx", chosen.files, chosen.main, said)


def _best(candidates: Sequence[_Candidate], wish: Wish, kind: str) -> tuple[_Candidate, str]:
    """Of candidates by size, the one to take, and why. At least one."""
    if len(candidates) == 1:
        only = candidates[0]
        return only, _alone(only.name, only.size, wish.budget)
    if max(Counter(each.label for each in candidates).values()) > 1:
        names = ", ".join(each.main for each in candidates[:_MAX_LISTED])
        raise NothingToFetch(
            f"The repository has several models, and their names do not say which is meant: {names}. Name "
            "one file, or a pattern such as *q4_k_m.gguf."
        )
    wanted = preferred_quantization(wish.quantization)
    preferred = next((each for each in candidates if wanted and each.label == wanted), None)
    if preferred is not None and _fits(preferred, wish.budget):
        return preferred, f"{preferred.name} ({in_words(preferred.size)}), as the models file prefers."
    best, said = _largest(candidates, wish.budget, kind)
    if preferred is not None:
        said += f" {wanted}, which the models file prefers, needs about {in_words(preferred.memory)}."
    elif wanted:
        said += f" {wanted}, which the models file prefers, is not offered."
    return best, said


def _largest(candidates: Sequence[_Candidate], budget: int, kind: str) -> tuple[_Candidate, str]:
    # Full precision costs a CPU twice the time of Q8_0 for each token, for answers that nobody can tell
    # apart; who wants it names it.
    offered = [each for each in candidates if each.label not in FULL_PRECISION] or list(candidates)
    fitting = [each for each in offered if _fits(each, budget)]
    if not fitting:
        least = offered[0]
        raise DoesNotFit(
            f"No {kind} of {len(offered)} fits: the smallest, {least.name} ({in_words(least.size)}), needs "
            f"about {in_words(least.memory)} of memory, and the model may take {in_words(budget)}. "
            "Raise MODEL_MEMORY_BUDGET or the model's max_memory, take a smaller model, or name a file to "
            "fetch it all the same."
        )
    best = fitting[-1]
    if len(offered) == 1:
        return best, _alone(best.name, best.size, budget)
    limit = f" that fits the memory budget of {in_words(budget)}" if budget else ""
    return best, f"{best.name} ({in_words(best.size)}) is the largest of {len(offered)} {kind}s{limit}."


def _fits(candidate: _Candidate, budget: int) -> bool:
    return not budget or candidate.memory <= budget


def _alone(label: str, size: int, budget: int) -> str:
    said = f"{label} ({in_words(size)})."
    if budget and memory_estimate(size) > budget:
        said += (
            f" It needs about {in_words(memory_estimate(size))} of memory as it is stored; the model may "
            f"take {in_words(budget)}."
        )
    return said


def _safetensors(files: Sequence[RemoteFile], wish: Wish) -> Choice:
    root = {file.name: file for file in files if "/" not in file.name}
    weights = _weights(root, wish.pattern)
    if not weights:
        if any(_base(file.name).endswith((".bin", ".pt", ".pth")) for file in files):
            raise NothingToFetch(
                "The repository has its weights only as pickled Python objects (.bin), which can run any "
                "code when they are loaded. Take a repository with safetensors or GGUF."
            )
        raise NothingToFetch(f"The repository has no weights that are served here. {_listing(files)}")
    if "config.json" not in root:
        raise NothingToFetch("The repository has no config.json, without which safetensors cannot be loaded.")
    beside = [file for name, file in root.items() if _goes_with_weights(name, remote_code=wish.remote_code)]
    chosen = tuple(sorted((*weights, *beside), key=lambda file: file.name))
    return Choice(
        "transformers", chosen, "", _alone("safetensors", sum(w.size for w in weights), wish.budget)
    )


def _weights(root: dict[str, RemoteFile], pattern: str) -> list[RemoteFile]:
    tensors = [
        file
        for name, file in root.items()
        if name.endswith(".safetensors") and not name.startswith(_NOT_FOR_US) and matches(name, pattern)
    ]
    if pattern:
        return tensors
    shards = [file for file in tensors if _SHARD.match(file.name)]
    whole = [file for file in tensors if file.name == "model.safetensors"]
    return whole or shards or tensors


def _goes_with_weights(name: str, *, remote_code: bool) -> bool:
    return name.endswith(_WITH_WEIGHTS) or name in _TEXTS or (remote_code and name.endswith(".py"))


def _adapter(files: Sequence[RemoteFile]) -> Choice:
    root = {file.name: file for file in files if "/" not in file.name}
    if "adapter_config.json" not in root or "adapter_model.safetensors" not in root:
        raise NothingToFetch(
            "The repository has no LoRA adapter of PEFT's: adapter_config.json and "
            f"adapter_model.safetensors. {_listing(files)}"
        )
    beside = [file for name, file in root.items() if _goes_with_weights(name, remote_code=False)]
    chosen = sorted((root["adapter_model.safetensors"], *beside), key=lambda file: file.name)
    return Choice("peft", tuple(chosen), "", _alone("A LoRA adapter", sum(file.size for file in chosen), 0))


def _base(name: str) -> str:
    return PurePosixPath(name).name


def _in_folder(name: str, folder: str) -> bool:
    return "/" not in name.removeprefix(folder)


def _listing(files: Sequence[RemoteFile]) -> str:
    names = sorted(file.name for file in files)
    if not names:
        return "It is empty."
    more = ", …" if len(names) > _MAX_LISTED else ""
    return f"It has: {', '.join(names[:_MAX_LISTED])}{more}."
