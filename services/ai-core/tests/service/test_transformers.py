"""The same weights say the same through our engine and through transformers (F32, greedy)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ai_core_service import DEMO_MODEL, QUESTIONS, Start
from gguf_twin import demo_recipe, write_f32_twin

NEW_TOKENS = 48


@pytest.fixture(scope="module")
def to_transformers() -> Iterator[Any]:
    """Of the demo model's recipe."""
    with demo_recipe() as to_transformers:
        yield to_transformers


def test_our_engine_and_transformers_agree(start: Start, to_transformers: Any, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    write_f32_twin(DEMO_MODEL, tmp_path / "neo-demo-f32.gguf")
    to_transformers(DEMO_MODEL, tmp_path / "twin")
    # transformers' own annotations do not know what these two return here.
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path / "twin")
    model: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "twin", dtype="float32")
    server = start(MODEL_PATH=str(tmp_path / "neo-demo-f32.gguf"))
    for question in QUESTIONS:
        inputs = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        prompt_tokens = inputs["input_ids"].shape[1]
        output = model.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False)
        expected = tokenizer.decode(output[0, prompt_tokens:], skip_special_tokens=True)
        answer = server.say(question, max_tokens=NEW_TOKENS)
        assert answer["usage"]["prompt_tokens"] == prompt_tokens
        assert answer["response"] == expected
