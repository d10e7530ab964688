"""What becomes of a letter: who is answered, who is not, who waits, and how the operator sees why."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostile import US, Hostile, hostile
from mail_service.deciding.decide import decide, is_shared, is_urgent
from mail_service.deciding.decisions import Answer, Bury, Hold, Ignore, Note, Outcome, Reason, Request, Serve
from mail_service.deciding.facts import Facts, Rules, Scan
from mail_service.deciding.likeness import essence
from mail_service.letters import Letter, Verdict
from mail_service.reading import read

NOW = datetime(2026, 11, 21, 20, tzinfo=UTC)
FACTS = Facts(NOW)
RULES = Rules(own_addresses=frozenset({US, "alias@example.test"}))
PROVEN = replace(FACTS, verdict=Verdict.ALIGNED, head_proven=True)


def letter(*headers: str, body: str = "Combien de jours de congés ai-je par an ?") -> Letter:
    given = {header.partition(":")[0].lower() for header in headers}
    usual = {
        "From": "Anne <anne@people.test>",
        "To": US,
        "Subject": "Question",
        "Message-ID": "<1@people.test>",
    }
    lines = [*headers, *(f"{name}: {value}" for name, value in usual.items() if name.lower() not in given)]
    return read("\r\n".join([*lines, "", body]).encode())


def outcome(found: Letter, facts: Facts = FACTS, rules: Rules = RULES) -> Outcome:
    return decide(found, facts, rules).outcome


def state(found: Outcome) -> str:
    return {Answer: "answered", Serve: "answered", Ignore: "ignored", Hold: "held", Bury: "dead"}[type(found)]


@pytest.mark.parametrize("mail", [pytest.param(mail, id=mail.name) for mail in hostile()])
def test_hostile_mails_end_as_the_table_says(mail: Hostile) -> None:
    assert state(outcome(read(mail.raw()))) == mail.state


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("Auto-Submitted: auto-replied", Reason.AUTO_SUBMITTED),
        ("Auto-Submitted: Auto-Generated (by cron)", Reason.AUTO_SUBMITTED),
        ("X-Auto-Response-Suppress: DR, AutoReply", Reason.SUPPRESSED),
        ("X-Autoreply: yes", Reason.AUTO_REPLY),
        ("X-Autorespond: vacation", Reason.AUTO_REPLY),
        ("Precedence: auto_reply", Reason.AUTO_REPLY),
        ("Return-Path: <>", Reason.RETURN_PATH),
        ("Return-Path: <MAILER-DAEMON>", Reason.RETURN_PATH),
        ("From: mailer-daemon@people.test", Reason.MAIL_SYSTEM),
        ("Content-Type: multipart/report; boundary=x", Reason.REPORT),
        (f"From: {US}", Reason.OWN_ADDRESS),
        ("From: Neo <ALIAS@example.test>", Reason.OWN_ADDRESS),
        ("Subject: Réponse automatique : Re: Question", Reason.AUTO_REPLY),
    ],
)
def test_no_rule_lets_a_loop_through(header: str, reason: Reason) -> None:
    body = "--x\r\n\r\nhello\r\n--x--" if "report" in header else "Je ne suis pas là."
    names = frozenset({"people.test", "*", "anne@people.test", "example.test"})
    rules = replace(RULES, allowed=names, bulk_allowed=names, urgent=names)
    assert outcome(letter(header, body=body), PROVEN, rules) == Ignore(reason)


@pytest.mark.parametrize(
    "header",
    [
        "Auto-Submitted: no",
        "X-Auto-Response-Suppress: DR, RN, NRN",
        "Precedence: normal",
        "X-Autoreply: no",
        "Return-Path: <anne@people.test>",
        "Subject: Réponse automatique de mon employeur, est-ce légal ?",
        "From: postier@people.test",
    ],
)
def test_what_only_looks_like_a_loop_is_answered(header: str) -> None:
    assert outcome(letter(header)) == Answer()


def test_our_own_mails_coming_back_are_not_answered() -> None:
    assert outcome(letter(), replace(FACTS, is_ours=True)) == Ignore(Reason.OWN_MESSAGE)
    assert outcome(letter(f"Reply-To: {US}")) == Ignore(Reason.OWN_ADDRESS)


@pytest.mark.parametrize(
    "header", ["List-Id: <l.test>", "List-Unsubscribe: <x>", "Precedence: bulk", "From: noreply@people.test"]
)
def test_bulk_is_answered_only_for_those_that_the_operator_named_and_that_prove_it(header: str) -> None:
    named = replace(RULES, bulk_allowed=frozenset({"people.test"}))
    assert isinstance(outcome(letter(header), PROVEN), Ignore)
    assert isinstance(outcome(letter(header), FACTS, named), Ignore)
    assert outcome(letter(header), PROVEN, named) == Answer()


ANNE_ONLY = replace(RULES, allowed=frozenset({"anne@people.test"}))


@pytest.mark.parametrize(
    ("rule", "sender", "named"),
    [
        ("anne@people.test", "anne@people.test", True),
        ("ANNE@People.Test", "anne@people.test", True),
        ("people.test", "anne@people.test", True),
        ("@people.test", "anne@people.test", True),
        (".test", "anne@people.test", True),
        (".people.test", "anne@people.test", False),
        ("people.test", "anne@evil-people.test", False),
        ("people.test", "anne@people.test.evil.test", False),
        ("anne@people.test", "xanne@people.test", False),
        ("", "anne@people.test", False),
    ],
)
def test_rules_name_addresses_and_domains(rule: str, sender: str, named: bool) -> None:
    rules = replace(RULES, allowed=frozenset({rule}))
    assert isinstance(outcome(letter(f"From: {sender}"), PROVEN, rules), Answer) == named
    blocked = replace(RULES, blocked=frozenset({rule}))
    assert isinstance(outcome(letter(f"From: {sender}"), FACTS, blocked), Ignore) == named


def test_a_name_is_only_believed_when_it_is_proven() -> None:
    assert outcome(letter(), PROVEN, ANNE_ONLY) == Answer()
    assert outcome(letter(), FACTS, ANNE_ONLY) == Ignore(Reason.NOT_AUTHENTICATED)
    forged = replace(FACTS, verdict=Verdict.FAILED)
    assert outcome(letter(), forged, ANNE_ONLY) == Ignore(Reason.FORGED)
    assert outcome(letter(), forged) == Ignore(Reason.FORGED)
    assert outcome(letter("From: bob@people.test"), PROVEN, ANNE_ONLY) == Ignore(Reason.NOT_ALLOWED)


def test_while_name_servers_are_away_who_needs_proof_waits_and_others_do_not() -> None:
    away = replace(FACTS, dns_away=True)
    assert outcome(letter(), away, ANNE_ONLY) == Hold(Reason.DNS_AWAY, NOW + RULES.look_again)
    assert outcome(letter(), away) == Answer()


@pytest.mark.parametrize(
    ("subject", "request_"),
    [
        ("EXPORT MY DATA", Request.EXPORT),
        ("Re: export my data.", Request.EXPORT),
        ("EXPORTER MES DONNÉES", Request.EXPORT),
        ("exporter mes donnees", Request.EXPORT),
        ("=?utf-8?q?TR=3A_Exporter_mes_donne=CC=81es?=", Request.EXPORT),
        ("DELETE MY DATA", Request.DELETE),
        ("Supprimer mes données !", Request.DELETE),
        ("RE: Ré: SUPPRIMER  MES DONNÉES", Request.DELETE),
    ],
)
def test_data_requests_are_served_to_whom_they_belong_alone(subject: str, request_: Request) -> None:
    asked = letter(f"Subject: {subject}", body="")
    assert outcome(asked, PROVEN) == Serve(request_)
    assert outcome(asked, FACTS) == Answer(Note.NOT_PROVEN)
    # Theirs, but perhaps an old mail of theirs under a subject of somebody else's.
    sent_on = replace(PROVEN, head_proven=False)
    assert outcome(asked, sent_on) == Answer(Note.NOT_PROVEN)
    assert isinstance(outcome(asked, replace(sent_on, dns_away=True)), Hold)
    assert isinstance(outcome(asked, replace(FACTS, dns_away=True)), Hold)
    assert outcome(asked, replace(FACTS, verdict=Verdict.FAILED)) == Ignore(Reason.FORGED)


@pytest.mark.parametrize("subject", ["Re: EXPORT MY DATA", "RE: Supprimer mes données"])
def test_an_answer_to_us_bears_our_subject_and_asks_for_nothing(subject: str) -> None:
    ours = replace(PROVEN, answers_ours=True)
    away = "Bonjour, je lis mes messages le lundi et vous répondrai alors."
    assert outcome(letter(f"Subject: {subject}", body=away), ours) == Answer()
    assert not isinstance(outcome(letter(f"Subject: {subject}", body=""), ours), Serve)
    # A responder that refers to nothing, either.
    assert outcome(letter(f"Subject: {subject}", body=away), PROVEN) == Answer()
    # Who goes on in the thread under a subject of their own asks.
    own = letter(f"Subject: {subject.partition(': ')[2]}", body="Bonjour, merci de vous en occuper.")
    assert isinstance(outcome(own, ours), Serve)


def test_requests_count_and_are_not_served_for_ever() -> None:
    asked = letter("Subject: EXPORT MY DATA", body="Please send me all that you keep about me.")
    later = NOW + timedelta(minutes=20)
    assert outcome(asked, replace(PROVEN, free_at=later)) == Hold(
        Reason.HOURLY_LIMIT, later, tell_sender=True
    )
    again = replace(PROVEN, earlier=(essence(asked),))
    assert outcome(asked, again) == Ignore(Reason.SAME_TEXT)
    # To be deleted is another wish than to be shown, and a question in the same words is a third.
    delete = letter("Subject: DELETE MY DATA", body="Please send me all that you keep about me.")
    assert outcome(delete, again) == Serve(Request.DELETE)
    assert outcome(letter(body="Please send me all that you keep about me."), again) == Answer()


@pytest.mark.parametrize(
    "subject", ["Can you delete my data?", "Mon employeur doit-il supprimer mes données", "data"]
)
def test_a_question_about_data_is_a_question(subject: str) -> None:
    assert outcome(letter(f"Subject: {subject}"), PROVEN) == Answer()


def test_the_scanners_have_their_word() -> None:
    for facts, found in (
        (replace(FACTS, virus=Scan.FOUND), Ignore(Reason.INFECTED)),
        (replace(FACTS, virus=Scan.AWAY), Hold(Reason.VIRUS_SCANNER_AWAY, NOW + RULES.look_again)),
        (replace(FACTS, spam=Scan.FOUND), Ignore(Reason.SPAM)),
        (replace(FACTS, spam=Scan.AWAY), Hold(Reason.SPAM_SCANNER_AWAY, NOW + RULES.look_again)),
        (replace(FACTS, spam=Scan.CLEAN, virus=Scan.CLEAN), Answer()),
    ):
        assert outcome(letter(), facts) == found
    # Who is trusted by name may send what a spam filter dislikes, but no virus.
    assert outcome(letter(), replace(PROVEN, spam=Scan.FOUND), ANNE_ONLY) == Answer()
    assert outcome(letter(), replace(PROVEN, virus=Scan.FOUND), ANNE_ONLY) == Ignore(Reason.INFECTED)


def test_nobody_is_waited_for_without_an_end() -> None:
    patience = RULES.give_up_after
    almost, long = (replace(FACTS, waited=each) for each in (patience - timedelta(minutes=1), patience))
    for rules, field, value, reason, end in (
        (RULES, "virus", Scan.AWAY, Reason.VIRUS_SCANNER_AWAY, Bury(Reason.VIRUS_SCANNER_AWAY)),
        (RULES, "spam", Scan.AWAY, Reason.SPAM_SCANNER_AWAY, Bury(Reason.SPAM_SCANNER_AWAY)),
        (ANNE_ONLY, "dns_away", True, Reason.DNS_AWAY, Ignore(Reason.NOT_AUTHENTICATED)),
    ):
        more: dict[str, Any] = {field: value}
        assert outcome(letter(), replace(almost, **more), rules) == Hold(reason, NOW + RULES.look_again)
        assert outcome(letter(), replace(long, **more), rules) == end
    asked = letter("Subject: EXPORT MY DATA", body="")
    assert isinstance(outcome(asked, replace(almost, dns_away=True)), Hold)
    assert outcome(asked, replace(long, dns_away=True)) == Answer(Note.NOT_PROVEN)


def test_who_comes_too_often_waits_and_is_told_once_a_day() -> None:
    later = NOW + timedelta(minutes=20)
    limited = replace(FACTS, free_at=later)
    assert outcome(letter(), limited) == Hold(Reason.HOURLY_LIMIT, later, tell_sender=True)
    assert outcome(letter(), replace(limited, told_today=True)) == Hold(Reason.HOURLY_LIMIT, later)
    assert outcome(letter(), replace(limited, now=later)) == Answer()


@pytest.mark.parametrize(
    ("headers", "urgent"),
    [
        (("X-Priority: 1 (Highest)",), True),
        (("Importance: High",), True),
        (("Priority: urgent",), True),
        (("X-Priority: 3",), False),
        (("From: court@justice.test",), True),
        ((), False),
    ],
)
def test_who_goes_first(headers: tuple[str, ...], urgent: bool) -> None:
    rules = replace(RULES, urgent=frozenset({"justice.test"}))
    assert is_urgent(letter(*headers), rules) == urgent
    assert decide(letter(*headers), FACTS, rules).urgent == urgent


@pytest.mark.parametrize(
    ("headers", "shared"),
    [
        ((f"To: {US}",), False),
        ((f"To: {US}, alias@example.test",), False),
        ((f"To: {US}, bob@people.test",), True),
        ((f"To: {US}", "Cc: bob@people.test"), True),
        (("To: bob@people.test", f"Cc: {US}"), True),
        (("To: undisclosed:;",), True),
    ],
)
def test_mail_that_others_got_as_well(headers: tuple[str, ...], shared: bool) -> None:
    assert is_shared(letter(*headers), RULES.own_addresses) == shared


VACATION = [
    "Bonjour, je suis absent jusqu'au 30 novembre. Bien à vous.",
    "I am currently out of the office and will answer when I am back.",
    "Nous avons bien reçu votre message et reviendrons vers vous.",
    "Merci pour votre mail. Je suis actuellement en congés.",
    "Hello! Thanks for writing, my assistant reads this mailbox on Mondays.",
]


@pytest.mark.parametrize("text", VACATION)
def test_a_responder_without_headers_is_answered_at_most_twice(text: str) -> None:
    """Its owner asked something; then it answers each of our answers, with the date in it."""
    answers = 0
    earlier: list[str] = []
    said = "Combien de jours de congés ai-je par an ?"
    for day in range(10):
        found = letter(f"Message-ID: <{day}@people.test>", f"Subject: Re: {'Re: ' * day}Question", body=said)
        facts = replace(FACTS, answers_ours=day > 0, earlier=tuple(earlier), answers_in_thread=answers)
        earlier.append(essence(found))
        if not isinstance(outcome(found, facts), Answer):
            break
        answers += 1
        said = f"{text}\r\nLe {day + 1} novembre 2026, {day}:00"
    assert answers <= 2


def test_a_conversation_is_not_taken_for_a_responder() -> None:
    earlier: list[str] = []
    said = (
        "Combien de jours de congés ai-je par an ?",
        "Et en CDD ?",
        "oui",
        "Je suis absent depuis lundi, est-ce une faute ?",
        "oui",
        "Merci beaucoup !",
        "Et si je suis en CDI ?",
    )
    for text in said:
        found = letter("Subject: Re: Question", body=text)
        facts = replace(FACTS, answers_ours=True, earlier=tuple(earlier), answers_in_thread=len(earlier))
        assert outcome(found, facts) == Answer(), text
        earlier.append(essence(found))


def test_one_thread_is_not_answered_for_ever() -> None:
    facts = replace(FACTS, answers_in_thread=RULES.answers_per_thread)
    assert outcome(letter(), facts) == Ignore(Reason.THREAD_LIMIT)


def test_the_same_words_with_another_file_are_another_mail() -> None:
    def with_file(content: str) -> Letter:
        text = "Voir la pièce jointe, merci beaucoup."
        body = f"--x\r\n\r\n{text}\r\n--x\r\nContent-Type: application/pdf\r\n\r\n{content}\r\n--x--"
        return letter("Content-Type: multipart/mixed; boundary=x", body=body)

    facts = replace(FACTS, earlier=(essence(with_file("a")),) * 3)
    assert essence(with_file("a")) != essence(with_file("b"))
    assert outcome(with_file("a"), facts) == Ignore(Reason.SAME_TEXT)


@pytest.mark.parametrize(
    ("found", "note"),
    [
        (letter("Subject: x", body=""), Note.EMPTY),
        (letter("Subject: Combien de jours de congés ?", body=""), None),
        (letter("Content-Type: application/pkcs7-mime", body="x"), Note.ENCRYPTED),
        (letter(body="-----BEGIN PGP MESSAGE-----\r\nx"), Note.ENCRYPTED),
        (letter("Content-Type: text/calendar; method=REQUEST", body="x"), Note.INVITATION),
    ],
)
def test_what_cannot_be_read_is_answered_with_a_word_of_ours(found: Letter, note: Note | None) -> None:
    assert outcome(found) == Answer(note)


def test_what_is_too_large_is_told_so_but_never_to_a_loop() -> None:
    large = replace(FACTS, too_large=True)
    assert outcome(letter(), large) == Answer(Note.TOO_LARGE)
    assert outcome(letter(), FACTS, replace(RULES, largest=10)) == Answer(Note.TOO_LARGE)
    assert outcome(letter("Auto-Submitted: auto-replied"), large) == Ignore(Reason.AUTO_SUBMITTED)
    assert outcome(letter(), replace(FACTS, unreadable=True)) == Bury(Reason.UNREADABLE)


facts = st.builds(
    Facts,
    now=st.just(NOW),
    waited=st.sampled_from([timedelta(), timedelta(days=3)]),
    verdict=st.sampled_from(Verdict),
    dns_away=st.booleans(),
    breaks_policy=st.booleans(),
    head_proven=st.booleans(),
    spam=st.sampled_from(Scan),
    virus=st.sampled_from(Scan),
    is_ours=st.booleans(),
    answers_ours=st.booleans(),
    earlier=st.sampled_from([(), ("merci",), ("combien de jours de congés ai je par an",) * 3]),
    answers_in_thread=st.integers(0, 30),
    mails_of_sender=st.integers(0, 50),
    free_at=st.sampled_from([None, NOW - timedelta(hours=1), NOW + timedelta(hours=1)]),
    told_today=st.booleans(),
    too_large=st.booleans(),
    unreadable=st.booleans(),
)
SOME = [mail.raw() for mail in hostile() if "without end" not in mail.name and "bomb" not in mail.name][::5]


@given(st.sampled_from(SOME), facts)
def test_every_decision_says_why(raw: bytes, given_facts: Facts) -> None:
    found = read(raw)
    decision = decide(found, given_facts, RULES)
    assert [step.found for step in decision.steps[:-1]] == ["passed"] * (len(decision.steps) - 1)
    assert decision.steps[-1].found != "passed"
    assert found.sender is None or found.sender.address not in str(decision.steps)
    if isinstance(decision.outcome, Hold):
        assert decision.outcome.until > NOW
    if isinstance(decision.outcome, Answer | Serve):
        assert found.sender is not None
        assert not given_facts.is_ours
        assert given_facts.virus not in {Scan.FOUND, Scan.AWAY}
