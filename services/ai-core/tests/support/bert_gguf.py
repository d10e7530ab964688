"""BERT as transformers knows it, written as GGUF: an embedding model for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np

_EMBEDDINGS = {
    "embeddings.word_embeddings.weight": "token_embd.weight",
    "embeddings.position_embeddings.weight": "position_embd.weight",
    "embeddings.token_type_embeddings.weight": "token_types.weight",
    "embeddings.LayerNorm": "token_embd_norm",
}
_LAYER = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}


def write_bert_gguf(
    model: Any, tokens: list[str], path: Path, pooling: gguf.PoolingType | None = gguf.PoolingType.MEAN
) -> None:
    """``model`` is a ``transformers.BertModel``, ``tokens`` its WordPiece vocabulary by id."""
    config = model.config
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_name("a BERT for tests")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_layer_norm_eps(config.layer_norm_eps)
    writer.add_causal_attention(False)
    if pooling is not None:
        writer.add_pooling_type(pooling)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    _add_vocabulary(writer, tokens, config.type_vocab_size)
    for name, tensor in model.state_dict().items():
        if (known := _gguf_name(name)) is not None:
            writer.add_tensor(known, np.ascontiguousarray(tensor.float().numpy()))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_vocabulary(writer: gguf.GGUFWriter, tokens: list[str], token_types: int) -> None:
    control = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
    writer.add_token_type_count(token_types)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("jina-v2-en")
    writer.add_token_list([token if token in control else _phantom(token) for token in tokens])
    types = [gguf.TokenType.CONTROL if token in control else gguf.TokenType.NORMAL for token in tokens]
    writer.add_token_types(types)
    writer.add_unk_token_id(tokens.index("[UNK]"))
    writer.add_sep_token_id(tokens.index("[SEP]"))
    writer.add_pad_token_id(tokens.index("[PAD]"))
    writer.add_bos_token_id(tokens.index("[CLS]"))
    writer.add_eos_token_id(tokens.index("[SEP]"))


def _phantom(token: str) -> str:
    """llama.cpp marks the beginnings of words where WordPiece marks the pieces that follow."""
    return token[2:] if token.startswith("##") else "▁" + token


def _gguf_name(name: str) -> str | None:
    if not name.startswith("encoder.layer."):
        stem, _, kind = name.rpartition(".")
        return _EMBEDDINGS.get(name) or (f"{_EMBEDDINGS[stem]}.{kind}" if stem in _EMBEDDINGS else None)
    number, _, rest = name.removeprefix("encoder.layer.").partition(".")
    stem, _, kind = rest.rpartition(".")
    return f"blk.{number}.{_LAYER[stem]}.{kind}"
