"""``neo-demo.gguf`` back in PyTorch: what is trained on top of it needs no checkpoint."""

from pathlib import Path

import gguf
import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE

from recipe.model import Decoder, Shape
from recipe.tokenizer import assemble
from recipe.transformers_twin import as_matrix, field


def load_network(path: Path, dropout: float = 0.0) -> Decoder:
    """The network with the weights of the file."""
    reader = gguf.GGUFReader(path)
    model = Decoder(shape(reader), dropout)
    weights = {
        tensor.name: torch.from_numpy(np.array(as_matrix(tensor), dtype=np.float32, order="C"))
        for tensor in reader.tensors
    }
    model.load_state_dict(weights)
    return model


def load_tokenizer(path: Path, merge_dropout: float | None = None) -> Tokenizer:
    """The tokenizer of the file; with ``merge_dropout``, it leaves out that share of merges at random."""
    reader = gguf.GGUFReader(path)
    tokens = {token: number for number, token in enumerate(field(reader, "tokenizer.ggml.tokens"))}
    merges = [tuple(merge.split(" ")) for merge in field(reader, "tokenizer.ggml.merges")]
    return assemble(BPE(tokens, merges, dropout=merge_dropout))


def shape(reader: gguf.GGUFReader) -> Shape:
    def of(name: str) -> int:
        return int(field(reader, f"qwen3.{name}"))

    return Shape(
        vocabulary=len(field(reader, "tokenizer.ggml.tokens")),
        width=of("embedding_length"),
        layers=of("block_count"),
        heads=of("attention.head_count"),
        kv_heads=of("attention.head_count_kv"),
        head_width=of("attention.key_length"),
        feed_forward=of("feed_forward_length"),
        context=of("context_length"),
        rope_base=float(field(reader, "qwen3.rope.freq_base")),
        norm_epsilon=float(field(reader, "qwen3.attention.layer_norm_rms_epsilon")),
    )
