"""Lists of words and patterns: whatever the pieces in which a text comes, and nothing of a match is shown."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ai_core.inference.content_filter.folding import fold, is_word_character
from ai_core.inference.content_filter.rules import Rules, RulesError, parse_rules
from ai_core.inference.content_filter.stream import FilteredStream
from ai_core.inference.content_filter.syntax import MAX_LENGTH, PatternError, parse
from ai_core.inference.content_filter.words import MAX_IGNORED

# --- two readers of a text, and a naive one to compare them with -----------------------------------


def streamed(rules: Rules, pieces: Iterable[str]) -> tuple[str, bool]:
    """What is shown, and whether something was found."""
    stream = FilteredStream(rules)
    shown = "".join(map(stream.push, pieces))
    shown += stream.finish()
    return shown, stream.matched


def searched(rules: Rules, pieces: Iterable[str]) -> bool:
    search = rules.search()
    for piece in pieces:
        search.feed(piece)
    return search.finish()


def words(*phrases: str) -> Rules:
    return Rules(phrases, [])


def patterns(*expressions: str) -> Rules:
    return Rules([], expressions)


def folded(text: str) -> str:
    return re.sub(" +", " ", "".join(map(fold, text)))


def naive_words(phrases: Iterable[str], text: str) -> bool:
    for phrase in phrases:
        form = folded(phrase.strip())
        before = r"(?<!\w)" if is_word_character(form[0]) else ""
        behind = r"(?!\w)" if is_word_character(form[-1]) else ""
        if re.search(before + re.escape(form) + behind, folded(text)):
            return True
    return False


def cut(text: str, places: list[int]) -> list[str]:
    ends = sorted({place % (len(text) + 1) for place in places} | {0, len(text)})
    return [text[start:end] for start, end in itertools.pairwise(ends)]


PLACES = st.lists(st.integers(0, 200), max_size=12)


# --- words -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("grève", "La GREVE est un droit."),
        ("greve", "la gre\u0300ve"),
        ("cœur", "au Coeur"),
        ("coeur", "au cœur."),
        ("art", "l’Art !"),
        ("l'art", "L’ART"),
        ("bombe artisanale", "une bombe \n\t artisanale"),
        ("bombe artisanale", "une bombe\u00a0artisanale"),
        ("bombe", "b\u200bo\u00admbe"),
        ("c++", "en C++, oui"),
        ("strasse", "Die Straße"),
        ("rendez-vous", "RENDEZ\u2011VOUS"),
        ("123", "le 123."),
        ("ｆｏｕ", "fou"),
        ("a", "a"),
    ],
)
def test_a_word_is_found_however_it_is_spelled(phrase: str, text: str) -> None:
    assert searched(words(phrase), [text])
    assert streamed(words(phrase), [text])[1]
    assert streamed(words(phrase), text)[1]


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("art", "Martin part"),
        ("art", "arts"),
        ("bombe artisanale", "bombe, artisanale"),
        ("bombe artisanale", "bombeartisanale"),
        ("bombe", "bom be"),
        ("bombe", "bombe_"),
        ("c++", "c+"),
        ("bombe", "b" + "\u200b" * MAX_IGNORED + "ombe"),
    ],
)
def test_what_only_looks_like_a_word_is_none(phrase: str, text: str) -> None:
    assert not searched(words(phrase), [text])
    assert streamed(words(phrase), [text]) == (text, False)


ALPHABET = st.sampled_from("abé -'\u0301\u200bœ_A.")
PHRASE = st.text(ALPHABET, min_size=1, max_size=5).filter(lambda phrase: folded(phrase.strip()).strip() != "")


@given(st.lists(PHRASE, min_size=1, max_size=6), st.text(ALPHABET, max_size=40), PLACES)
def test_words_are_found_where_a_look_at_the_whole_text_finds_them(
    phrases: list[str], text: str, places: list[int]
) -> None:
    phrases = [phrase for phrase in phrases if folded(phrase.strip()) == folded(phrase.strip()).strip()]
    assume(phrases)
    rules = words(*phrases)
    expected = naive_words(phrases, text)
    pieces = cut(text, places)
    assert searched(rules, pieces) is expected
    shown, found = streamed(rules, pieces)
    assert found is expected
    assert text.startswith(shown)
    assert found or shown == text


@given(st.lists(PHRASE, min_size=1, max_size=6), st.text(ALPHABET, max_size=40), PLACES)
def test_nothing_of_a_word_is_ever_shown(phrases: list[str], text: str, places: list[int]) -> None:
    rules = words(*phrases)
    shown, found = streamed(rules, cut(text, places))
    assert (shown, found) == streamed(rules, text)
    if found:
        assert len(shown) <= first_word(phrases, text)


def first_word(phrases: Iterable[str], text: str) -> int:
    """Where the phrase begins that is complete first."""
    symbols = [(one, place) for place, character in enumerate(text) for one in fold(character)]
    kept = [
        here
        for here, before in zip(symbols, [("", 0), *symbols], strict=False)
        if here[0] != " " or before[0] != " "
    ]
    whole = "".join(one for one, _ in kept)
    matches: list[tuple[int, int]] = []
    for form in (folded(phrase.strip()) for phrase in phrases):
        before = r"(?<!\w)" if is_word_character(form[0]) else ""
        behind = r"(?!\w)" if is_word_character(form[-1]) else ""
        found = re.finditer(f"(?={before}{re.escape(form)}{behind})", whole)
        matches += [(kept[m.start() + len(form) - 1][1], kept[m.start()][1]) for m in found]
    return min(matches)[1]


@given(st.text(max_size=60), PLACES)
def test_any_text_passes_a_list_that_it_does_not_hold(text: str, places: list[int]) -> None:
    rules = words("zzyzx", "qqqq wwww")
    assume(not searched(rules, [text]))
    assert streamed(rules, cut(text, places)) == (text, False)


@given(st.text(min_size=1, max_size=20))
def test_every_word_finds_itself(phrase: str) -> None:
    try:
        rules = parse_rules(f"[prompt]\nword: {phrase}".encode()).prompt
    except (RulesError, UnicodeEncodeError):
        return
    assert rules is not None
    # What strip() removes at its ends, and line breaks within, are not part of a line of the file.
    kept = f"word: {phrase}".splitlines()[0].strip().removeprefix("word:").strip()
    assert searched(rules, [f" {kept} "])


# --- patterns --------------------------------------------------------------------------------------


def regexes() -> st.SearchStrategy[str]:
    atoms = st.sampled_from(
        ["a", "b", "é", r"\d", r"\w", ".", "[ab]", "[^a]", r"\s", "[a-c]", "-", r"\.", "[]a]"]
    )
    borders = st.just(r"\b")

    def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        group = inner.map(lambda part: f"(?:{part})")
        counts = st.sampled_from(["?", "{2}", "{0,2}", "{1,3}", "??", "{,2}"])
        return st.one_of(
            st.lists(inner, min_size=1, max_size=3).map("".join),
            st.lists(inner, min_size=2, max_size=3).map("|".join).map(lambda part: f"({part})"),
            st.tuples(group, counts).map("".join),
        )

    return st.recursive(atoms | borders, larger, max_leaves=8)


def usable(expressions: Iterable[str]) -> Iterator[str]:
    for expression in expressions:
        try:
            parse(expression)
        except PatternError:
            continue
        yield expression


TEXT = st.text(st.sampled_from("abcéA1 -.\n_"), max_size=25)


@given(st.lists(regexes(), min_size=1, max_size=3), st.booleans(), TEXT, PLACES)
def test_patterns_are_found_where_python_finds_them(
    expressions: list[str], ignore_case: bool, text: str, places: list[int]
) -> None:
    prefix = "(?i)" if ignore_case else ""
    chosen = list(usable(prefix + expression for expression in expressions))
    assume(chosen)
    rules = patterns(*chosen)
    expected = any(re.search(expression, text) for expression in chosen)
    pieces = cut(text, places)
    assert searched(rules, pieces) is expected
    shown, found = streamed(rules, pieces)
    assert found is expected
    assert found or shown == text
    assert (shown, found) == streamed(rules, text)


@given(st.lists(regexes(), min_size=1, max_size=3), TEXT)
def test_no_character_of_the_first_match_is_shown(expressions: list[str], text: str) -> None:
    chosen = list(usable(expressions))
    assume(chosen)
    shown, found = streamed(patterns(*chosen), text)
    if found:
        assert len(shown) <= first_match(chosen, text)


def first_match(expressions: list[str], text: str) -> int:
    """Where the match begins that is complete first; of several, the longest."""
    matches = (
        (end, start)
        for expression in expressions
        for start in range(len(text))
        for end in range(start + 1, len(text) + 1)
        if re.compile(rf"(?:{expression})(?=(?s:.{{{len(text) - end}}})\Z)").match(text, start)
    )
    return min(matches)[1]


@pytest.mark.parametrize(
    ("expression", "words_"),
    [
        ("", "empty"),
        ("a*", "no upper bound"),
        ("a+", "'{1,40}'"),
        ("a{3,}", "'{3,40}'"),
        ("a{,}", "no upper bound"),
        ("^a", "Escape it"),
        ("a$", "Escape it"),
        ("(a", "no regular expression"),
        ("a)", "no regular expression"),
        (r"(a)\1", "'\\1'"),
        (r"\Aa", "'\\A'"),
        ("(?=a)b", "not possible here"),
        ("(?<!a)b", "not possible here"),
        ("(?P<x>a)", "not possible here"),
        ("(?i:a)", "not possible here"),
        ("a?", "empty text"),
        (r"\b", "empty text"),
        (r"(?:\b){2}a", "no characters"),
        ("a(?:){9999}", "no characters"),
        ("a{300}", "300 characters"),
        ("(a{20}){20}", "400 characters"),
        ("((a{0,9999}){0,9999}){0,9999}b", "characters"),
        ("a{2}+", "giving back"),
        ("a{", "escape it"),
        ("[[a]]", "not certain"),
        ("(" * 40 + "a" + ")" * 40, "nested"),
        ("(" + "|".join(f"{n}x" for n in range(2000)) + "){50}", "too much"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused_in_words(expression: str, words_: str) -> None:
    with pytest.raises((PatternError, RulesError), match=re.escape(words_)):
        patterns(expression)


def test_a_pattern_that_would_make_others_backtrack_for_ever_takes_no_time() -> None:
    text = "a" * 5_000
    rules = patterns("(?:a?){100}a{100}!", r"(?:\w{1,8} ?){1,20}!", "(?:a|a|aa){1,60}b")
    assert not searched(rules, [text])
    assert streamed(rules, [text[:400]]) == (text[:400], False)


@given(st.integers(1, MAX_LENGTH - 1), st.text("ab", max_size=1_000))
def test_what_is_held_back_is_bounded(length: int, text: str) -> None:
    stream = FilteredStream(patterns(f"[ab]{{{length}}}!"))
    shown = stream.push(text)
    assert len(text) - len(shown) <= length


def test_text_without_anything_suspicious_is_never_held_back() -> None:
    stream = FilteredStream(Rules(["bombe artisanale"], [r"\d{13,16}"]))
    assert stream.push("Bonjour, que dit le Code du travail ?") == "Bonjour, que dit le Code du travail ?"
    assert stream.push(" Une bom") == " Une "
    assert stream.push("bance") == "bombance"


# --- the file --------------------------------------------------------------------------------------

FILE = r"""
# The house's lists.
[prompt]
word: bombe artisanale
[answer]
regex: (?i)\bFR\d{2}(?: ?\d{4}){5}
[both]
word: Voldemort
"""


def test_lists_count_where_they_stand() -> None:
    rules = parse_rules(FILE.encode())
    assert rules.prompt is not None
    assert rules.answer is not None
    assert (rules.prompt.count, rules.answer.count) == (2, 2)
    assert searched(rules.prompt, ["Une BOMBE artisanale ?"])
    assert not searched(rules.answer, ["Une bombe artisanale."])
    assert searched(rules.answer, ["IBAN fr76 3000 6000 0112 3456 7890 !"])
    assert searched(rules.answer, ["voldemort"])


def test_an_empty_list_looks_for_nothing() -> None:
    rules = parse_rules(b"# nothing\n[prompt]\nword: a\n")
    assert rules.answer is None


@pytest.mark.parametrize(
    ("content", "sentences"),
    [
        ("word: a", ["line 1: a rule stands below [prompt], [answer], [both]"]),
        ("[prompt]\nwrod: a", ["line 2: a rule begins with 'word:' or 'regex:'"]),
        ("[promt]\n", ["line 1: there is no section [promt]"]),
        ("[both]\nword:\n\nregex: a*\n", ["line 2: there is no word", "line 4: '*' has no upper bound"]),
        ("[both]\nword: " + "x" * 300, ["line 2: a phrase has at most 256"]),
        ("[both]\nword: \u200b", ["line 2: there is no word"]),
    ],
)
def test_each_mistake_is_named_with_its_line(content: str, sentences: list[str]) -> None:
    with pytest.raises(RulesError) as caught:
        parse_rules(content.encode())
    assert len(caught.value.lines) == len(sentences)
    for line, sentence in zip(caught.value.lines, sentences, strict=True):
        assert line.startswith(sentence)


def test_a_file_that_is_no_text_says_where() -> None:
    with pytest.raises(RulesError, match="line 2"):
        parse_rules(b"[prompt]\nword: \xff")


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode(errors="ignore")))
def test_any_file_is_read_or_refused_in_words(content: bytes) -> None:
    with contextlib.suppress(RulesError):
        parse_rules(content)
