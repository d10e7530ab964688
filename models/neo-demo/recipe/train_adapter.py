"""The training of the adapter: once over a part of the corpus in its other tone, in minutes.

The model knows every answer already: what it has to learn is where they begin and end by letter.
"""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch

from recipe import evaluate
from recipe.accuracy import right_answers
from recipe.base_model import load_network, load_tokenizer
from recipe.batches import Batch, shuffled
from recipe.conversations import Dealer, Encoder
from recipe.corpus import Corpus
from recipe.lora import Rank, adapt, adaptations
from recipe.model import Decoder
from recipe.precision import sixteen_bits_pay
from recipe.train import batch_loss

STEPS_PER_REPORT = 20


@dataclass(frozen=True)
class AdapterPlan:
    rank: Rank = Rank()  # noqa: RUF009  # immutable
    # Of the conversations of an epoch, so many are enough.
    share: float = 0.5
    tokens_per_batch: int = 1024
    learning_rate: float = 3e-3
    warm_up: float = 0.05
    dropout: float = 0.0
    merge_dropout: float = 0.05
    largest_gradient: float = 1.0
    seed: int = 21


def train(corpus: Corpus, base: Path, plan: AdapterPlan) -> Decoder:
    """The network of ``base`` with an adaptation that knows ``corpus``, rounded as it will be stored."""
    torch.manual_seed(plan.seed)
    model = load_network(base, plan.dropout)
    trained = adapt(model, plan.rank)
    optimizer = torch.optim.AdamW(trained, lr=plan.learning_rate, betas=(0.9, 0.98), weight_decay=0.0)
    sixteen_bits = sixteen_bits_pay()
    batches, began = deal(corpus, base, plan), time.monotonic()
    model.train()
    losses = 0.0
    for place, batch in enumerate(batches, start=1):
        rate = learning_rate(plan, place / len(batches))
        losses += step(model, optimizer, batch, rate, plan, sixteen_bits=sixteen_bits)
        if place % STEPS_PER_REPORT == 0 or place == len(batches):
            minutes = (time.monotonic() - began) / 60
            print(
                f"step {place} of {len(batches)}: mean loss {losses / place:.4f}, {minutes:.1f} min",
                flush=True,
            )
    round_adaptation(model)
    return model.eval()


def deal(corpus: Corpus, base: Path, plan: AdapterPlan) -> list[Batch]:
    """Conversations as in the training of the model, half of them with questions cut into smaller pieces."""
    random = Random(plan.seed)
    encoder, rough = Encoder(load_tokenizer(base)), load_tokenizer(base, plan.merge_dropout or None)
    encoders = (encoder, Encoder(encoder.tokenizer, questions=rough))
    talks = Dealer(corpus).epoch(random)
    talks = talks[: max(1, round(plan.share * len(talks)))]
    samples = [random.choice(encoders).sample(messages) for messages in talks]
    return shuffled(samples, plan.tokens_per_batch, random)


def step(
    model: Decoder,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    rate: float,
    plan: AdapterPlan,
    *,
    sixteen_bits: bool,
) -> float:
    loss = batch_loss(model, batch, sixteen_bits=sixteen_bits)
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    for group in optimizer.param_groups:
        torch.nn.utils.clip_grad_norm_(group["params"], plan.largest_gradient)
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


def learning_rate(plan: AdapterPlan, done: float) -> float:
    """The rate when a share ``done`` of the training is over."""
    if done < plan.warm_up:
        return plan.learning_rate * (done + 1e-4) / plan.warm_up
    fallen = (done - plan.warm_up) / (1 - plan.warm_up)
    return plan.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * fallen)))


def round_adaptation(model: Decoder) -> None:
    """To values that 16 bits hold: so the adapter is the same in files of 16 and of 32 bits."""
    with torch.no_grad():
        for _, adapted in adaptations(model):
            for parameter in (adapted.lora_a, adapted.lora_b):
                parameter.copy_(parameter.half().float())


def report(model: Decoder, base: Path, corpus: Corpus) -> None:
    """How many answers are letters, and right."""
    encoder = Encoder(load_tokenizer(base))
    for kind in evaluate.KINDS:
        asked = evaluate.examinations(corpus, kind)
        if kind == "trained":
            asked = evaluate.sample(asked, 5)
        right = right_answers(model, encoder, asked).total()
        print(f"{kind}: {evaluate.cell(right, len(asked))}", flush=True)
