"""A GGUF file asked through llama.cpp, with the tokens and the chat template that it carries."""

from pathlib import Path
from typing import Any, cast

import llama_cpp
import numpy as np
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from recipe.evaluate import MOST_NEW_TOKENS, Message

CONTEXT = 1024


class LlamaCpp:
    """Answers greedily."""

    def __init__(self, path: Path, adapter: Path | None = None) -> None:
        lora = None if adapter is None else str(adapter)
        # One thread: for so few weights, two wait for each other longer than they multiply.
        self.llama = llama_cpp.Llama(
            str(path), n_ctx=CONTEXT, n_threads=1, n_threads_batch=1, verbose=False, lora_path=lora
        )
        template = self.llama.metadata["tokenizer.chat_template"]
        self.render = Jinja2ChatFormatter(template, eos_token="", bos_token="")

    def __call__(self, messages: list[Message]) -> str:
        prompt = self.render(messages=cast("Any", messages)).prompt
        self.llama.reset()  # type: ignore[no-untyped-call]
        self.llama.eval(self.llama.tokenize(prompt.encode(), add_bos=False, special=True))
        said: list[int] = []
        while len(said) < MOST_NEW_TOKENS and (token := self.likeliest()) != self.llama.token_eos():
            said.append(token)
            self.llama.eval([token])
        return self.llama.detokenize(said).decode(errors="replace")

    def likeliest(self) -> int:
        logits = llama_cpp.llama_get_logits_ith(self.llama.ctx, -1)
        return int(np.ctypeslib.as_array(logits, (self.llama.n_vocab(),)).argmax())
