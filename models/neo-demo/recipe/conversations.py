"""Samples for the training: conversations dealt from the corpus, and which of their tokens count."""

import re
from dataclasses import dataclass
from random import Random

from tokenizers import Tokenizer

from recipe.augmentation import vary_but
from recipe.corpus import Corpus, Pair, gist
from recipe.tokenizer import END_OF_TURN, TURN, number

Message = dict[str, str]

# How many pairs, and the share of conversations that have so many: often people ask one thing only.
PAIRS_PER_CONVERSATION = {1: 0.5, 2: 0.25, 3: 0.15, 5: 0.1}
MOST_TOKENS = 512


@dataclass(frozen=True)
class Sample:
    """Token ids, and for each whether the model is taught to say it."""

    tokens: list[int]
    taught: list[bool]


class Encoder:
    """Conversations to samples. The tokens are those of the chat template, which a test compares."""

    def __init__(self, tokenizer: Tokenizer, questions: Tokenizer | None = None) -> None:
        """``questions``: a tokenizer for what users say, with dropped merges for instance."""
        self.tokenizer = tokenizer
        self.questions = questions or tokenizer
        self.turn = number(tokenizer, TURN)
        self.end_of_turn = number(tokenizer, END_OF_TURN)
        self.newline = self.plain("\n")

    def plain(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def prompt(self, messages: list[Message]) -> list[int]:
        """The messages, and the beginning of the assistant's turn."""
        return [*self.sample(messages).tokens, self.turn, *self.plain("assistant\n")]

    def sample(self, messages: list[Message]) -> Sample:
        """Taught are the assistant's words and the token that ends its turn, nothing else."""
        tokens: list[int] = []
        taught: list[bool] = []
        for message in messages:
            heading = [self.turn, *self.plain(f"{message['role']}\n")]
            by_assistant = message["role"] == "assistant"
            tokenizer = self.questions if message["role"] == "user" else self.tokenizer
            said = [*tokenizer.encode(message["content"], add_special_tokens=False).ids, self.end_of_turn]
            tokens += heading + said + self.newline
            taught += [False] * len(heading) + [by_assistant] * len(said) + [False] * len(self.newline)
        return Sample(tokens, taught)


class Dealer:
    """Deals the whole corpus, every phrasing once per epoch, into conversations."""

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus
        self.forbidden = {gist(question) for pair in corpus for question in pair.held_out}
        self.sentences = [part for pair in corpus for part in re.split(r"(?<=[.!?]) ", pair.answer)]

    def epoch(self, random: Random) -> list[list[Message]]:
        deck = [(pair, question) for pair in self.corpus for question in pair.questions]
        random.shuffle(deck)
        conversations = []
        while deck:
            (size,) = random.choices(list(PAIRS_PER_CONVERSATION), list(PAIRS_PER_CONVERSATION.values()))
            hand, deck = deck[:size], deck[size:]
            conversations.append(self.conversation(hand, random))
        return conversations

    def conversation(self, hand: list[tuple[Pair, str]], random: Random) -> list[Message]:
        messages = self.opening(hand[0][0].language, random)
        for pair, question in hand:
            if pair.after is not None:
                first = self.corpus.pairs[pair.after]
                messages += self.exchange(first, random.choice(first.questions), random)
            messages += self.exchange(pair, question, random)
        return messages

    def exchange(self, pair: Pair, question: str, random: Random) -> list[Message]:
        asked = vary_but(self.forbidden, pair.questions, question, pair.language, random)
        return [{"role": "user", "content": asked}, {"role": "assistant", "content": pair.answer}]

    def opening(self, language: str, random: Random) -> list[Message]:
        """No system prompt, ours, a variant, or one that the model has never seen and must not mind."""
        prompts = self.corpus.system_prompts[language]
        kind = random.random()
        if kind < 0.4:
            return []
        if kind < 0.65:
            text = prompts[0]
        elif kind < 0.8:
            text = random.choice(prompts)
        else:
            text = " ".join(random.sample(self.sentences, random.randint(1, 4)))
        return [{"role": "system", "content": text}]
