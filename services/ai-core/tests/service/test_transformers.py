"""The same weights say the same through our engine and through transformers (F32, greedy)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from ai_core_service import DEMO_MODEL, QUESTIONS, ROOT, Start

NEW_TOKENS = 48


@pytest.fixture(scope="module")
def recipe() -> Any:
    """The demo model's recipe, which knows how to write the twins."""
    sys.path.insert(0, str(ROOT / "models/neo-demo"))
    try:
        from recipe import export, transformers_twin

        yield export, transformers_twin
    finally:
        sys.path.remove(str(ROOT / "models/neo-demo"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_our_engine_and_transformers_agree(start: Start, recipe: Any, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    export, twin = recipe
    full = tmp_path / "neo-demo-f32.gguf"
    export.write_f32_twin(DEMO_MODEL, full)
    twin.to_transformers(DEMO_MODEL, tmp_path / "twin")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "twin")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "twin", dtype="float32")
    server = start(MODEL_PATH=str(full))
    for question in QUESTIONS:
        messages = [{"role": "user", "content": question}]
        inputs = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        output = model.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False)
        expected = tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        answer = server.say(question, max_tokens=NEW_TOKENS)
        assert answer["usage"]["prompt_tokens"] == inputs["input_ids"].shape[1]
        assert answer["response"] == expected
