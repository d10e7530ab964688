"""Byte-level BPE, cut as Qwen2 cuts, because every engine that reads GGUF knows that expression by name."""

from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, PreTokenizer, Sequence, Split
from tokenizers.trainers import BpeTrainer

VOCABULARY = 4096
END_OF_TEXT, TURN, END_OF_TURN = SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
# What tokenizer.ggml.pre = "qwen2" stands for in a GGUF file.
QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def cut_like_qwen2() -> PreTokenizer:
    split = Split(Regex(QWEN2_SPLIT), behavior="isolated")
    return Sequence([split, ByteLevel(add_prefix_space=False, use_regex=False)])


def assemble(model: BPE) -> Tokenizer:
    """A tokenizer around ``model``. No normaliser: llama.cpp has none, and both must give the same ids."""
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = cut_like_qwen2()
    tokenizer.decoder = ByteLevelDecoder()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIALS])
    return tokenizer


def train(texts: Iterable[str], vocabulary: int = VOCABULARY) -> Tokenizer:
    """A tokenizer of at most ``vocabulary`` tokens; all 256 bytes are among them, so any text can be cut."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = cut_like_qwen2()
    tokenizer.decoder = ByteLevelDecoder()
    trainer = BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        special_tokens=list(SPECIALS),
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def number(tokenizer: Tokenizer, token: str) -> int:
    """The id of a token that must be there."""
    found: int | None = tokenizer.token_to_id(token)
    if found is None:
        raise KeyError(f"the tokenizer has no {token}")
    return found


def load(path: Path, dropout: float | None = None) -> Tokenizer:
    """The tokenizer that ``path`` holds; with ``dropout``, it leaves out that share of merges at random."""
    tokenizer: Tokenizer = Tokenizer.from_file(str(path))
    tokenizer.model.dropout = dropout
    return tokenizer
