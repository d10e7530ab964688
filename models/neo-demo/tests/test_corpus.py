"""The corpus keeps its promises, above all that the evaluation asks what was not taught."""

from collections import Counter
from pathlib import Path

import pytest

from recipe import corpus, places
from recipe.corpus import Corpus, CorpusError, gist

PAIR = """
[[pair]]
id = "fr-essai"
questions = [ "Une ?", "Deux ?", "Trois ?", "Quatre ?" ]
held_out = [ "Cinq ?" ]
answer = "Voici."
"""


@pytest.fixture(scope="module")
def known() -> Corpus:
    return corpus.load(places.CORPUS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    prompts = '[fr]\ndefault = "a"\nvariants = ["b"]\n[en]\ndefault = "a"\nvariants = ["b"]\n'
    (tmp_path / "system-prompts.toml").write_text(prompts, encoding="utf-8")
    return tmp_path


def test_there_is_as_much_as_promised(known: Corpus) -> None:
    pairs = [pair for pair in known if pair.after is None]
    assert len(pairs) >= 300
    assert any(pair.after for pair in known)
    languages = Counter(pair.language for pair in known)
    assert min(languages[language] for language in corpus.LANGUAGES) >= 100
    assert all(len(set(pair.questions)) >= 4 for pair in known)


def test_answers_and_questions_mean_one_pair(known: Corpus) -> None:
    answers = Counter(pair.answer for pair in known)
    assert answers.most_common(1)[0][1] == 1
    asked = Counter((question, pair.after) for pair in known for question in pair.questions + pair.held_out)
    assert [question for question, times in asked.items() if times > 1] == []


def test_follow_ups_come_after_first_questions_of_their_language(known: Corpus) -> None:
    for pair in known:
        if pair.after is not None:
            first = known.pairs[pair.after]
            assert (first.after, first.language) == (None, pair.language), pair.id


def test_held_out_phrasings_differ_in_more_than_looks(known: Corpus) -> None:
    trained = {gist(question): pair.id for pair in known for question in pair.questions}
    alike = {
        question: trained[gist(question)]
        for pair in known
        for question in pair.held_out
        if gist(question) in trained
    }
    assert alike == {}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Quelle est la durée ?", "quelle est la duree"),
        ("Bonjour, quelle est la durée, merci", "Quelle est la durée ?"),
        ("L'œuvre est-elle à moi ?", "l’oeuvre est elle a moi"),
        ("Please, what is a CDI?", "What is a CDI"),
    ],
)
def test_gist_leaves_looks_and_politeness_out(one: str, other: str) -> None:
    assert gist(one) == gist(other)


@pytest.mark.parametrize(("one", "other"), [("Bonjour", "Merci"), ("Quelle durée ?", "Quel délai ?")])
def test_gist_keeps_what_is_asked(one: str, other: str) -> None:
    assert gist(one) != gist(other)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (PAIR.replace('"fr-essai"', '"de-essai"'), "must begin with"),
        (PAIR.replace('"Une ?", ', ""), "at least 4 phrasings"),
        (PAIR.replace('[ "Cinq ?" ]', "[]"), "out of the training"),
        (PAIR.replace('answer = "Voici."', ""), "lacks 'answer'"),
        (PAIR + 'after = "fr-inconnu"', "does not exist"),
        (PAIR + PAIR, "stands in"),
    ],
)
def test_a_broken_file_is_refused_by_name(folder: Path, wrong: str, complaint: str) -> None:
    (folder / "essai.fr.toml").write_text(wrong, encoding="utf-8")
    with pytest.raises(CorpusError, match=complaint) as caught:
        corpus.load(folder)
    assert "essai.fr.toml" in str(caught.value)


def test_the_product_is_small_enough_for_git() -> None:
    assert places.PRODUCT.stat().st_size <= 15_000_000
