"""Samples to tensors of nearly equal size."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

from recipe.conversations import MOST_TOKENS, Sample


@dataclass(frozen=True)
class Batch:
    """``inputs`` (rows, positions); ``targets``: the next tokens, in order, where ``taught`` is true."""

    inputs: Tensor
    taught: Tensor
    targets: Tensor


def pad(samples: list[Sample]) -> Batch:
    """One batch. Padding needs no mask: it comes last, and no position looks ahead."""
    longest = max(len(sample.tokens) for sample in samples)
    tokens = torch.zeros(len(samples), longest, dtype=torch.long)
    taught = torch.zeros(len(samples), longest, dtype=torch.bool)
    for row, sample in enumerate(samples):
        tokens[row, : len(sample.tokens)] = torch.tensor(sample.tokens)
        taught[row, : len(sample.taught)] = torch.tensor(sample.taught)
    return Batch(tokens[:, :-1], taught[:, 1:], tokens[:, 1:][taught[:, 1:]])


def shorten(sample: Sample) -> Sample:
    return Sample(sample.tokens[:MOST_TOKENS], sample.taught[:MOST_TOKENS])


def by_length(samples: list[Sample], tokens_per_batch: int) -> Iterator[list[Sample]]:
    """Groups of similar length, so that little is padding, of about ``tokens_per_batch`` each."""
    group: list[Sample] = []
    for sample in sorted(samples, key=lambda sample: len(sample.tokens)):
        if group and (len(group) + 1) * len(sample.tokens) > tokens_per_batch:
            yield group
            group = []
        group.append(sample)
    if group:
        yield group


def shuffled(samples: list[Sample], tokens_per_batch: int, random: Random) -> list[Batch]:
    groups = list(by_length([shorten(sample) for sample in samples], tokens_per_batch))
    random.shuffle(groups)
    return [pad(group) for group in groups]
