"""The training: whole epochs of freshly varied conversations, resumable between any two.

What is random in an epoch comes from its number, so an interrupted training goes on as if it had not been
interrupted. (Only the merges left out of questions are drawn by the tokenizer library, which takes no seed.)
"""

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import torch
from torch import Tensor
from torch.nn import functional

from recipe import checkpoint, evaluate, tokenizer
from recipe.accuracy import right_answers
from recipe.batches import Batch, shuffled
from recipe.checkpoint import Progress
from recipe.conversations import Dealer, Encoder
from recipe.corpus import Corpus
from recipe.model import Decoder, Shape
from recipe.precision import sixteen_bits_pay


@dataclass(frozen=True)
class Plan:
    # Of the vocabulary, as much as the tokenizer fills.
    shape: Shape = Shape(tokenizer.VOCABULARY)  # noqa: RUF009  # immutable
    epochs: int = 30
    tokens_per_batch: int = 2048
    learning_rate: float = 1e-3
    # Share of the training in which the rate rises; then it falls along a cosine to a hundredth.
    warm_up: float = 0.02
    weight_decay: float = 0.1
    dropout: float = 0.1
    # Share of merges left out when questions are cut, so that a word is known by its pieces too.
    merge_dropout: float = 0.05
    largest_gradient: float = 1.0
    seconds_between_checkpoints: float = 120.0
    epochs_between_looks: int = 3
    # One in so many trained phrasings is asked in a look; of the held-out ones, all are.
    trained_sampled: int = 5
    seed: int = 20


@dataclass(frozen=True)
class Places:
    """Where a training keeps its tokenizer, its checkpoint and its curve."""

    tokenizer: Path
    checkpoint: Path
    curve: Path


class Training:
    def __init__(self, corpus: Corpus, places: Places, plan: Plan) -> None:
        self.corpus, self.places, self.plan = corpus, places, plan
        torch.manual_seed(plan.seed)
        canonical = tokenizer.load(places.tokenizer)
        self.encoder = Encoder(canonical)
        self.dealer = Dealer(corpus)
        self.model = Decoder(replace(plan.shape, vocabulary=canonical.get_vocab_size()), plan.dropout)
        self.optimizer = optimizer(self.model, plan)
        self.progress = checkpoint.resume(places.checkpoint, self.model, self.optimizer)
        self.sixteen_bits = sixteen_bits_pay()

    def run(self) -> None:
        bits = 16 if self.sixteen_bits else 32
        print(f"{torch.get_num_threads()} threads, matrix products of {bits} bits", flush=True)
        saved = time.monotonic()
        while self.progress.epochs < self.plan.epochs:
            self.epoch()
            last = self.progress.epochs == self.plan.epochs
            if last or self.progress.epochs % self.plan.epochs_between_looks == 0:
                self.look()
            if last or time.monotonic() - saved > self.plan.seconds_between_checkpoints:
                checkpoint.save(self.places.checkpoint, self.model, self.optimizer, self.progress)
                saved = time.monotonic()

    def epoch(self) -> None:
        began, number = time.monotonic(), self.progress.epochs
        torch.manual_seed(self.plan.seed * 1000 + number)
        batches = self.batches(number)
        losses, tokens = 0.0, 0
        for place, batch in enumerate(batches):
            rate = learning_rate(self.plan, (number + place / len(batches)) / self.plan.epochs)
            losses += self.step(batch, rate)
            tokens += batch.inputs.numel()
        seconds = time.monotonic() - began
        self.progress = Progress(number + 1, self.progress.seconds + seconds)
        self.report(losses / len(batches), tokens / seconds)

    def batches(self, epoch: int) -> list[Batch]:
        random = Random(self.plan.seed * 1000 + epoch)
        rough = tokenizer.load(self.places.tokenizer, dropout=self.plan.merge_dropout or None)
        encoders = (self.encoder, Encoder(self.encoder.tokenizer, questions=rough))
        samples = [random.choice(encoders).sample(messages) for messages in self.dealer.epoch(random)]
        return shuffled(samples, self.plan.tokens_per_batch, random)

    def step(self, batch: Batch, rate: float) -> float:
        loss = batch_loss(self.model, batch, sixteen_bits=self.sixteen_bits)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.plan.largest_gradient)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()

    def report(self, loss: float, tokens_per_second: float) -> None:
        done, planned = self.progress.epochs, self.plan.epochs
        left = self.progress.seconds / done * (planned - done) / 60
        print(
            f"epoch {done} of {planned}: loss {loss:.4f}, {tokens_per_second:.0f} tokens/s, "
            f"{self.progress.seconds / 60:.1f} min done, about {left:.0f} min left",
            flush=True,
        )

    def look(self) -> None:
        """Writes one line of the curve: how much of what it was taught, and was not, the model knows now."""
        shares = []
        for kind in evaluate.KINDS:
            asked = evaluate.examinations(self.corpus, kind)
            if kind == "trained":
                asked = evaluate.sample(asked, self.plan.trained_sampled)
            right = right_answers(self.model, self.encoder, asked)
            shares.append(right.total() / len(asked))
        print(f"  right: {shares[0]:.1%} of trained, {shares[1]:.1%} of held-out phrasings", flush=True)
        with self.places.curve.open("a", encoding="utf-8") as file:
            file.write(
                f"{self.progress.epochs},{self.progress.seconds:.0f},{shares[0]:.4f},{shares[1]:.4f}\n"
            )


def batch_loss(model: Decoder, batch: Batch, *, sixteen_bits: bool) -> Tensor:
    """The mean over the taught tokens only; the others never reach the output matrix."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=sixteen_bits):
        logits = model.logits(model.hidden(batch.inputs)[batch.taught])
    return functional.cross_entropy(logits.float(), batch.targets)


def optimizer(model: Decoder, plan: Plan) -> torch.optim.Optimizer:
    matrices = [parameter for parameter in model.parameters() if parameter.dim() == 2]
    norms = [parameter for parameter in model.parameters() if parameter.dim() == 1]
    groups = [{"params": matrices, "weight_decay": plan.weight_decay}, {"params": norms, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=plan.learning_rate, betas=(0.9, 0.98), fused=True)


def learning_rate(plan: Plan, done: float) -> float:
    """The rate when a share ``done`` of the training is over."""
    if done < plan.warm_up:
        return plan.learning_rate * (done + 1e-4) / plan.warm_up
    fallen = (done - plan.warm_up) / (1 - plan.warm_up)
    return plan.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * fallen)))
