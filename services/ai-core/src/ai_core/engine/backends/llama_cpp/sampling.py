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

from ai_core.engine.backends.llama_cpp.context import Context
from ai_core.engine.backends.llama_cpp.model import GgufVocabulary
from ai_core.engine.messages import Sampling

REPEAT_WINDOW = 64
"""Tokens that ``repeat_penalty`` looks back at."""
IMPLIED_TOP_K = 1000
"""Applied when a caller gives top_p without top_k: see ``messages.Sampling``."""
_KEEP_AT_LEAST = 1


def is_plain_greedy(sampling: Sampling) -> bool:
    """Whether the likeliest token is all that is asked for: then no chain is needed and the tokens
    of all such sequences are found with one NumPy call. (``ignore_eos`` is honoured there too.)"""
    return sampling.temperature == 0 and not _biases(sampling, frozenset()) and not _has_penalties(sampling)


class Sampler:
    """The sampler chain of one sequence. It accepts what it draws."""

    def __init__(self, vocabulary: GgufVocabulary, sampling: Sampling, max_tokens: int) -> None:
        self._chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        banned = vocabulary.end_tokens if sampling.ignore_eos else frozenset()
        self._add_bias(vocabulary.size, _biases(sampling, banned))
        self._add_penalties(sampling, max_tokens)
        if sampling.temperature == 0:
            self._add(lib.llama_sampler_init_greedy())
        else:
            self._add_draw(sampling)

    def sample(self, context: Context, row: int) -> int:
        """The next token from the logits of a row of the last call."""
        return int(lib.llama_sampler_sample(self._chain, context.pointer, row))

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

    def _add_penalties(self, sampling: Sampling, max_tokens: int) -> None:
        if sampling.repeat_penalty != 1.0:
            self._add(lib.llama_sampler_init_penalties(REPEAT_WINDOW, sampling.repeat_penalty, 0.0, 0.0))
        if sampling.frequency_penalty or sampling.presence_penalty:
            frequency, presence = sampling.frequency_penalty, sampling.presence_penalty
            self._add(lib.llama_sampler_init_penalties(max_tokens, 1.0, frequency, presence))

    def _add_draw(self, sampling: Sampling) -> None:
        top_k = sampling.top_k or (IMPLIED_TOP_K if sampling.top_p < 1 else 0)
        if top_k:
            self._add(lib.llama_sampler_init_top_k(top_k))
        if sampling.top_p < 1:
            self._add(lib.llama_sampler_init_top_p(sampling.top_p, _KEEP_AT_LEAST))
        if sampling.min_p > 0:
            self._add(lib.llama_sampler_init_min_p(sampling.min_p, _KEEP_AT_LEAST))
        self._add(lib.llama_sampler_init_temp(sampling.temperature))
        seed = secrets.randbits(32) if sampling.seed is None else sampling.seed
        self._add(lib.llama_sampler_init_dist(seed))


def _biases(sampling: Sampling, banned: frozenset[int]) -> dict[int, float]:
    return {**sampling.logit_bias, **dict.fromkeys(banned, -math.inf)}


def _has_penalties(sampling: Sampling) -> bool:
    return bool(sampling.repeat_penalty != 1.0 or sampling.frequency_penalty or sampling.presence_penalty)
