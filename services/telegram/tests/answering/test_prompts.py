"""What the model is told about itself: in files, one a language, which the operator may write anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from servicekit.prompts import MAX_CHARACTERS, PromptError
from telegram_service.answering.prompts import load_prompts
from telegram_service.dialogue.incoming import Language


def test_the_service_has_its_own_in_each_language() -> None:
    prompts = load_prompts(None)
    assert prompts.keys() == set(Language)
    assert prompts[Language.FRENCH].startswith("Tu es Neo")
    assert prompts[Language.ENGLISH].startswith("You are Neo")


def test_those_of_a_folder_take_their_place(tmp_path: Path) -> None:
    (tmp_path / "fr.txt").write_text("Tu es Léa.\n", "utf-8")
    (tmp_path / "en.txt").write_text("You are Léa.", "utf-8")
    assert load_prompts(tmp_path) == {Language.FRENCH: "Tu es Léa.", Language.ENGLISH: "You are Léa."}


@pytest.mark.parametrize("english", [None, b"", b" \n", b"\xff", b"a" * (MAX_CHARACTERS + 1)])
def test_one_that_cannot_be_read_is_named(tmp_path: Path, english: bytes | None) -> None:
    (tmp_path / "fr.txt").write_text("Tu es Léa.", "utf-8")
    if english is not None:
        (tmp_path / "en.txt").write_bytes(english)
    with pytest.raises(PromptError, match=r"TELEGRAM_PROMPTS_PATH: en\.txt"):
        load_prompts(tmp_path)
