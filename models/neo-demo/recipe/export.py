"""The network and its tokenizer as one GGUF file, which every engine of the suite reads."""

import json
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from recipe.model import Decoder, Shape
from recipe.tokenizer import END_OF_TEXT, END_OF_TURN, SPECIALS, number

ARCHITECTURE = "qwen3"


@dataclass(frozen=True)
class Card:
    """What the file says about itself."""

    name: str = "neo-demo"
    author: str = "Code du Travail Neo"
    version: str = "1.0"
    license: str = "MIT"
    languages: tuple[str, ...] = ("fr", "en")
    description: str = (
        "A small model trained from scratch on a few hundred questions and answers about French labour law "
        "and about this suite. It demonstrates the software; it is not a lawyer and knows nothing else."
    )


def write_gguf(
    model: Decoder, tokenizer: Tokenizer, chat_template: str, path: Path, *, wide: bool = False
) -> None:
    """Writes matrices as F16 and norms as F32.

    ``wide`` stores the matrices as F32 too, with the same values: rounded to F16 first, so that engines
    can be compared on exactly the same weights.
    """
    file_type = gguf.LlamaFileType.ALL_F32 if wide else gguf.LlamaFileType.MOSTLY_F16
    unfinished = path.with_suffix(".part")
    writer = gguf.GGUFWriter(unfinished, ARCHITECTURE)
    describe(writer, Card(), file_type)
    describe_shape(writer, model.shape)
    describe_tokenizer(writer, tokenizer, chat_template)
    for name, parameter in model.state_dict().items():
        values: NDArray[np.float32] = parameter.float().numpy()
        writer.add_tensor(name, stored(values, wide=wide))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    unfinished.replace(path)


def stored(values: NDArray[np.float32], *, wide: bool) -> NDArray[np.float32] | NDArray[np.float16]:
    if values.ndim == 1:
        return values
    rounded = values.astype(np.float16)
    return rounded.astype(np.float32) if wide else rounded


def describe(writer: gguf.GGUFWriter, card: Card, file_type: gguf.LlamaFileType) -> None:
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(card.name)
    writer.add_author(card.author)
    writer.add_version(card.version)
    writer.add_description(card.description)
    writer.add_license(card.license)
    writer.add_languages(list(card.languages))
    # OpenVINO's reader refuses a file without these two.
    writer.add_file_type(file_type)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def describe_shape(writer: gguf.GGUFWriter, shape: Shape) -> None:
    writer.add_vocab_size(shape.vocabulary)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_width)
    writer.add_value_length(shape.head_width)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_rope_freq_base(shape.rope_base)


def describe_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer, chat_template: str) -> None:
    tokens = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    types = [gguf.TokenType.CONTROL if token in SPECIALS else gguf.TokenType.NORMAL for token in tokens]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges(tokenizer))
    writer.add_eos_token_id(number(tokenizer, END_OF_TURN))
    writer.add_eot_token_id(number(tokenizer, END_OF_TURN))
    writer.add_pad_token_id(number(tokenizer, END_OF_TEXT))
    writer.add_add_bos_token(False)
    writer.add_chat_template(chat_template)


def merges(tokenizer: Tokenizer) -> list[str]:
    """The merges in their order, as ``"left right"``."""
    return [" ".join(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]
