"""The demo model answers what its card promises, asked through the running service."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import httpx
import pytest

from ai_core_service import PATIENCE, ROOT, Server

AT_ONCE = 16


@pytest.fixture(scope="module")
def recipe() -> Iterator[tuple[ModuleType, ModuleType]]:
    """The corpus and its examination; the recipe is no installed package."""
    sys.path.insert(0, str(ROOT / "models/neo-demo"))
    try:
        yield importlib.import_module("recipe.corpus"), importlib.import_module("recipe.evaluate")
    finally:
        sys.path.remove(str(ROOT / "models/neo-demo"))


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("kind", "goal"), [("trained", 0.95), ("held_out", 0.80)])
def test_at_temperature_0_questions_get_exactly_their_answers(
    server: Server, recipe: tuple[Any, Any], kind: str, goal: float
) -> None:
    corpus, evaluate = recipe
    known = corpus.load(ROOT / "models/neo-demo/corpus")

    def ask(messages: list[dict[str, str]]) -> str:
        body = {"messages": messages, "temperature": 0, "max_tokens": evaluate.MOST_NEW_TOKENS}
        response = client.post("/api/v1/chat", json=body)
        assert response.status_code == 200, response.text
        return str(response.json()["response"])

    # Thousands of questions: over connections that stay open.
    with httpx.Client(
        base_url=server.url, headers=server.headers, timeout=PATIENCE, trust_env=False
    ) as client:
        result = evaluate.score(ask, evaluate.examinations(known, kind), AT_ONCE)
    assert result.asked.total() >= len(known.pairs)
    assert result.share >= goal, evaluate.table({kind: result})
