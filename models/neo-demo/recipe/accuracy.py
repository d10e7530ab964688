"""How many answers the network would give exactly, without generating them.

Greedy decoding yields the expected answer if and only if every expected token, its end of turn included,
is the likeliest one after those before it. One pass over question and answer tells that, some fifty
times faster than generating; ``evaluate`` asks a running model the slow way.
"""

from collections import Counter
from collections.abc import Sequence

import torch

from recipe.batches import by_length, pad
from recipe.conversations import Encoder
from recipe.evaluate import Examination
from recipe.model import Decoder

TOKENS_PER_BATCH = 8192


def right_answers(model: Decoder, encoder: Encoder, asked: Sequence[Examination]) -> Counter[str]:
    """By file of the corpus: how many of the examinations end with their answer."""
    by_tokens = {}
    for examination in asked:
        answer = {"role": "assistant", "content": examination.answer}
        sample = encoder.sample([*examination.messages, answer])
        # Answers of earlier turns are given, not asked for.
        given = len(encoder.prompt(examination.messages))
        taught = [place >= given and taught for place, taught in enumerate(sample.taught)]
        by_tokens[tuple(sample.tokens)] = (examination.file, type(sample)(sample.tokens, taught))
    right: Counter[str] = Counter()
    model.eval()
    for group in by_length([sample for _, sample in by_tokens.values()], TOKENS_PER_BATCH):
        batch = pad(group)
        with torch.inference_mode():
            likeliest = model.logits(model.hidden(batch.inputs)[batch.taught]).argmax(-1)
        row = batch.taught.nonzero()[:, 0]
        wrong = set(row[likeliest != batch.targets].tolist())
        for place, sample in enumerate(group):
            right[by_tokens[tuple(sample.tokens)][0]] += place not in wrong
    model.train()
    return right
