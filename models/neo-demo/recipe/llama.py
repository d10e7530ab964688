"""A GGUF file asked through llama.cpp, with the chat template that it carries."""

from pathlib import Path
from typing import Any, cast

import llama_cpp

from recipe.evaluate import MOST_NEW_TOKENS, Message

CONTEXT = 1024


class LlamaCpp:
    def __init__(self, path: Path, threads: int) -> None:
        self.llama = llama_cpp.Llama(str(path), n_ctx=CONTEXT, n_threads=threads, verbose=False)

    def __call__(self, messages: list[Message]) -> str:
        # Its types offer an iterator too, which comes only when asked for.
        completion: Any = self.llama.create_chat_completion(
            messages=cast("Any", messages), temperature=0.0, max_tokens=MOST_NEW_TOKENS
        )
        return completion["choices"][0]["message"]["content"] or ""
