"""From logits to the next token, with llama.cpp's own samplers, one chain per sequence.

Order of the chain, as llama.cpp's default: bias, penalties, top-k, top-p, min-p, temperature, draw.
"""

from __future__ import annotations

import ctypes
import math
import secrets
from collections.abc import Mapping
from itertools import starmap

import llama_cpp.llama_cpp as lib
import numpy as np
import numpy.typing as npt

from ai_core.engine.backends.llama_cpp.context import Context
from ai_core.engine.backends.llama_cpp.model import GgufVocabulary
from ai_core.engine.backends.logits import Logits
from ai_core.engine.messages import Sampling
from ai_core.engine.tokens import Tokens

REPEAT_WINDOW = 64
"""Tokens that ``repeat_penalty`` looks back at."""
IMPLIED_TOP_K = 1000
"""Applied when a caller gives top_p without top_k: see ``messages.Sampling``."""
_KEEP_AT_LEAST = 1
_SAMPLED = 32
"""One token in so many says where the likeliest ones begin."""
_SEEDS = 0xFFFFFFFF
"""LLAMA_DEFAULT_SEED, the largest 32-bit number, means "at random" to llama.cpp, so it is no seed."""
_TOKEN_DATA = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
"""llama.cpp's ``llama_token_data``."""

Candidates = npt.NDArray[np.void]


def is_plain_greedy(sampling: Sampling) -> bool:
    """Whether the likeliest token is all that is asked for: then no chain is needed and the tokens
    of all such sequences are found with one NumPy call. (``ignore_eos`` is honoured there too.)"""
    return sampling.temperature == 0 and not _biases(sampling, frozenset()) and not _has_penalties(sampling)


class Sampler:
    """The sampler chain of one sequence. It accepts what it draws."""

    def __init__(self, vocabulary: GgufVocabulary, sampling: Sampling, max_tokens: int) -> None:
        self._chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        self._likeliest = _few_enough(sampling, vocabulary.size)
        if not self._likeliest:
            banned = vocabulary.end_tokens if sampling.ignore_eos else frozenset()
            self._add_bias(vocabulary.size, _biases(sampling, banned))
            self._add_penalties(vocabulary.size, sampling, max_tokens)
        if sampling.temperature == 0:
            self._add(lib.llama_sampler_init_greedy())
        else:
            self._add_draw(sampling)

    def sample(self, context: Context, row: int, logits: Logits) -> int:
        """The next token.

        Args:
            context: of the last call.
            row: of the batch of that call.
            logits: what the call computed for this row.
        """
        if not self._likeliest:
            return int(lib.llama_sampler_sample(self._chain, context.pointer, row))
        token = self.draw(logits)
        self.accept(token)
        return token

    def draw(self, logits: Logits, among: Tokens | None = None) -> int:
        """A token that may still be refused: :meth:`accept` has to follow for the one that is taken.

        Args:
            logits: what the call computed for this sequence.
            among: the tokens to choose from; None: all.
        """
        if among is not None:
            candidates = _candidates(logits, among)
        elif self._likeliest:
            candidates = likeliest(logits, self._likeliest)
        else:
            candidates = _candidates(logits, np.arange(len(logits), dtype=np.int32))
        pointer = candidates.ctypes.data_as(lib.llama_token_data_p)
        array = lib.llama_token_data_array(data=pointer, size=len(candidates), selected=-1, sorted=False)
        lib.llama_sampler_apply(self._chain, ctypes.byref(array))
        return int(array.data[array.selected].id)

    def accept(self, token: int) -> None:
        """This token was taken: penalties remember it."""
        lib.llama_sampler_accept(self._chain, token)

    def close(self) -> None:
        if self._chain is not None:
            lib.llama_sampler_free(self._chain)
            self._chain = None

    def _add(self, sampler: object) -> None:
        lib.llama_sampler_chain_add(self._chain, sampler)

    def _add_bias(self, vocabulary_size: int, biases: Mapping[int, float]) -> None:
        if biases:
            entries = (lib.llama_logit_bias * len(biases))(*starmap(lib.llama_logit_bias, biases.items()))
            pointer = ctypes.cast(entries, ctypes.POINTER(lib.llama_logit_bias))
            self._add(lib.llama_sampler_init_logit_bias(vocabulary_size, len(biases), pointer))

    def _add_penalties(self, vocabulary: int, sampling: Sampling, max_tokens: int) -> None:
        repeat, frequency, presence = (
            sampling.repeat_penalty,
            sampling.frequency_penalty,
            sampling.presence_penalty,
        )
        if repeat != 1.0:
            self._add(lib.llama_sampler_init_penalties(vocabulary, REPEAT_WINDOW, repeat, 0.0, 0.0))
        if frequency or presence:
            self._add(lib.llama_sampler_init_penalties(vocabulary, max_tokens, 1.0, frequency, presence))

    def _add_draw(self, sampling: Sampling) -> None:
        top_k = _top_k(sampling)
        if top_k:
            self._add(lib.llama_sampler_init_top_k(top_k))
        if sampling.top_p < 1:
            self._add(lib.llama_sampler_init_top_p(sampling.top_p, _KEEP_AT_LEAST))
        if sampling.min_p > 0:
            self._add(lib.llama_sampler_init_min_p(sampling.min_p, _KEEP_AT_LEAST))
        self._add(lib.llama_sampler_init_temp(sampling.temperature))
        seed = secrets.randbits(32) if sampling.seed is None else sampling.seed
        self._add(lib.llama_sampler_init_dist(seed % _SEEDS))


def _top_k(sampling: Sampling) -> int:
    """0: no limit."""
    return sampling.top_k or (IMPLIED_TOP_K if sampling.top_p < 1 else 0)


def _few_enough(sampling: Sampling, vocabulary: int) -> int:
    """How many of the likeliest tokens are all that the chain has to see; 0: it must see the whole
    vocabulary, because a bias or a penalty may bring any token to the front, or because no filter
    leaves just a few."""
    top_k = _top_k(sampling)
    if sampling.temperature == 0 or _biases(sampling, frozenset()) or _has_penalties(sampling):
        return 0
    return top_k if top_k <= vocabulary // 8 else 0


def likeliest(logits: Logits, count: int) -> Candidates:
    """The ``count`` likeliest tokens (more where several are equally likely), by token id.

    Looked for among those that are at least as likely as a sample of the vocabulary lets expect: a
    sixth of the time that a selection from the whole vocabulary takes, and a thirtieth of that of
    llama.cpp's own top-k, which copies the vocabulary first.
    """
    tokens = np.flatnonzero(logits >= _expected_threshold(logits, count))
    if len(tokens) < count:
        tokens = np.arange(len(logits))
    values = logits[tokens]
    threshold = np.partition(values, len(values) - count)[len(values) - count]
    return _candidates(logits, tokens[values >= threshold].astype(np.int32))


def _expected_threshold(logits: Logits, count: int) -> np.float32:
    """A logit that almost certainly ``count`` tokens reach, and few more: a rank of a sample, four
    standard deviations of its error below the one that would be expected."""
    sample = logits[::_SAMPLED]
    rank = count / _SAMPLED
    rank = min(len(sample), math.ceil(rank + 4 * math.sqrt(rank) + 4))
    threshold: np.float32 = np.partition(sample, len(sample) - rank)[len(sample) - rank]
    return threshold


def _candidates(logits: Logits, tokens: Tokens) -> Candidates:
    candidates: Candidates = np.zeros(len(tokens), dtype=_TOKEN_DATA)
    candidates["id"] = tokens
    candidates["logit"] = logits[tokens]
    return candidates


def _biases(sampling: Sampling, banned: frozenset[int]) -> dict[int, float]:
    return {**sampling.logit_bias, **dict.fromkeys(banned, -math.inf)}


def _has_penalties(sampling: Sampling) -> bool:
    return bool(sampling.repeat_penalty != 1.0 or sampling.frequency_penalty or sampling.presence_penalty)
