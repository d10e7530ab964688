"""The spam rules of our own, measured on mails with a label."""

from collections import Counter
from datetime import UTC, datetime

import pytest

from labelled import Labelled, labelled
from mail_service.deciding.decide import decide
from mail_service.deciding.decisions import Answer
from mail_service.deciding.facts import Facts, Rules, Scan
from mail_service.deciding.spam import LONGEST, score
from mail_service.letters import Verdict
from mail_service.reading import read

NOW = datetime(2026, 11, 21, 20, tzinfo=UTC)
RULES = Rules(own_addresses=frozenset({"neo@example.test"}))
MAILS = labelled()


def is_answered(mail: Labelled, facts: Facts) -> bool:
    return isinstance(decide(read(mail.raw), facts, RULES).outcome, Answer)


def test_no_question_is_lost_and_most_spam_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    counts = Counter((mail.is_wanted, is_answered(mail, Facts(NOW))) for mail in MAILS)
    lost, kept = counts[True, False], counts[True, True]
    found, missed = counts[False, False], counts[False, True]
    precision, recall = found / (found + lost), found / (found + missed)
    with capsys.disabled():
        print(f"\n{'':>12}{'answered':>10}{'ignored':>10}")
        print(f"{'questions':>12}{kept:>10}{lost:>10}")
        print(f"{'unwanted':>12}{missed:>10}{found:>10}")
        print(f"precision {precision:.3f}, recall {recall:.3f} of {len(MAILS)} mails")
    assert len(MAILS) >= 120
    assert lost == 0
    assert recall >= 0.85


def test_questions_keep_a_distance_from_the_threshold() -> None:
    """So that one more sign, a broken policy, loses none of them either."""
    worst = max(score(read(mail.raw), Facts(NOW, breaks_policy=True)) for mail in MAILS if mail.is_wanted)
    assert worst <= RULES.spam_score


def test_a_conversation_with_us_is_never_spam() -> None:
    for mail in MAILS:
        if mail.is_wanted:
            assert is_answered(mail, Facts(NOW, answers_ours=True, mails_of_sender=30, breaks_policy=True))


def test_who_is_allowed_by_name_and_authenticated_is_no_spammer() -> None:
    casino = next(mail for mail in MAILS if mail.name == "casino fr")
    rules = Rules(RULES.own_addresses, allowed=frozenset({"*", "casino-royal-vip.bet"}))
    facts = Facts(NOW, verdict=Verdict.ALIGNED)
    assert isinstance(decide(read(casino.raw), facts, rules).outcome, Answer)
    assert not isinstance(decide(read(casino.raw), Facts(NOW), rules).outcome, Answer)


def test_a_scanner_has_the_word_where_there_is_one() -> None:
    question, casino = MAILS[0], next(mail for mail in MAILS if mail.name == "casino fr")
    assert not is_answered(question, Facts(NOW, spam=Scan.FOUND))
    assert is_answered(casino, Facts(NOW, spam=Scan.CLEAN))


def test_the_operator_is_told_the_signs() -> None:
    casino = next(mail for mail in MAILS if mail.name == "casino fr")
    last = decide(read(casino.raw), Facts(NOW), RULES).steps[-1]
    assert last.rule == "spam"
    assert "gambling" in last.found


@pytest.mark.parametrize(
    "piece", ["a" * 40, "votre compte ", "f\u00e9licitations ", "enregistr\u00e9 ", "- 1", "cliquez "]
)
def test_no_text_keeps_the_rules_busy(piece: str) -> None:
    """A text without end takes no longer than what is looked at."""
    letter = read(f"From: a@people.test\n\n{piece * (100 * LONGEST // len(piece))}".encode())
    assert score(letter, Facts(NOW)) < 100
