"""A network asked the slow and simple way: for a look at a checkpoint, not for serving."""

import torch

from recipe.conversations import Encoder
from recipe.evaluate import MOST_NEW_TOKENS, Message
from recipe.model import Decoder


class Greedy:
    """Answers with the likeliest token each time; reads everything anew for each."""

    def __init__(self, model: Decoder, encoder: Encoder) -> None:
        self.model, self.encoder = model.eval(), encoder

    def __call__(self, messages: list[Message]) -> str:
        tokens = self.encoder.prompt(messages)
        said: list[int] = []
        with torch.inference_mode():
            while len(said) < MOST_NEW_TOKENS:
                hidden = self.model.hidden(torch.tensor([tokens + said]))
                token = int(self.model.logits(hidden[0, -1]).argmax())
                if token == self.encoder.end_of_turn:
                    break
                said.append(token)
        answer: str = self.encoder.tokenizer.decode(said)
        return answer
