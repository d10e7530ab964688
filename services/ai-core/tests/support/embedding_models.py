"""Embedding models for tests: random weights, the same each time."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import gguf

from bert_gguf import write_bert_gguf

TEXTS = (
    "Le préavis dure deux mois.",
    "Combien de congés payés par an ?",
    "What is Neo?",
    "a",
    "Le contrat de travail à durée indéterminée est la forme normale du contrat de travail.",
    "préavis " * 60,
)
HIDDEN = 48
CONTEXT = 128
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_WORDS = re.findall(
    r"\w+", "le la de du travail contrat preavis conges payes par an what is neo duree forme est"
)
TOKENS = [
    *_SPECIAL,
    *_WORDS,
    *(character for character in "abcdefghijklmnopqrstuvwxyz0123456789.,?!'"),
    *(f"##{character}" for character in "abcdefghijklmnopqrstuvwxyz0123456789"),
]


@cache
def tiny_bert() -> Any:
    """transformers' BERT with random weights, large enough that unlike texts get unlike vectors."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(TOKENS),
        hidden_size=HIDDEN,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=CONTEXT,
        initializer_range=0.4,
    )
    model: Any = BertModel(config, add_pooling_layer=False)
    return model.eval()


def write_tiny_bert(path: Path, pooling: gguf.PoolingType | None = gguf.PoolingType.MEAN) -> Path:
    """:func:`tiny_bert` as a GGUF file."""
    write_bert_gguf(tiny_bert(), TOKENS, path, pooling)
    return path


def wordpieces(text: str) -> list[int]:
    """Token ids of a text, special tokens included: what BERT's own tokenizer does with this vocabulary."""
    import unicodedata

    stripped = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if not unicodedata.combining(c))
    ids = [TOKENS.index("[CLS]")]
    for word in re.findall(r"\w+|[^\w\s]", stripped):
        ids += _pieces_of(word)
    return [*ids, TOKENS.index("[SEP]")]


def _pieces_of(word: str) -> list[int]:
    ids: list[int] = []
    start = 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = word[start:end] if start == 0 else "##" + word[start:end]
            if piece in TOKENS:
                ids.append(TOKENS.index(piece))
                start = end
                break
        else:
            return [TOKENS.index("[UNK]")]
    return ids


def hidden_states(tokens: list[int]) -> Any:
    """What transformers computes for one text, shape (tokens, hidden)."""
    import torch

    with torch.no_grad():
        return tiny_bert()(torch.tensor([tokens])).last_hidden_state[0].numpy()
