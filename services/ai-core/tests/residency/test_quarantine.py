"""Requests that kill engines are kept away from them, others are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_core.engine.messages import ChatMessage, Sampling, Submit
from ai_core.errors import RequestQuarantined
from ai_core.residency.fingerprint import fingerprint
from ai_core.residency.quarantine import Quarantine
from ai_core.residency.suspects import Suspects

HOUR = 3600.0


def test_one_strike_makes_a_request_suspect_and_two_refuse_it_for_an_hour() -> None:
    quarantine = Quarantine()
    quarantine.strike([b"a"], now=0.0)
    assert quarantine.suspects(b"a", now=1.0)
    assert quarantine.refused_for(b"a", now=1.0) == 0.0
    quarantine.strike([b"a"], now=10.0)
    assert quarantine.refused_for(b"a", now=10.0) == HOUR
    assert quarantine.refused_for(b"a", now=10.0 + HOUR - 1) == 1.0
    assert quarantine.refused_for(b"a", now=10.0 + HOUR) == 0.0


def test_the_same_request_several_times_in_one_batch_is_one_strike() -> None:
    quarantine = Quarantine()
    quarantine.strike([b"a", b"a", b"a"], now=0.0)
    assert quarantine.refused_for(b"a", now=0.0) == 0.0


def test_strikes_more_than_an_hour_apart_do_not_add_up() -> None:
    quarantine = Quarantine()
    quarantine.strike([b"a"], now=0.0)
    quarantine.strike([b"a"], now=HOUR)
    assert quarantine.refused_for(b"a", now=HOUR) == 0.0


def test_a_request_that_ran_to_its_end_is_suspect_no_more() -> None:
    quarantine = Quarantine()
    quarantine.strike([b"a"], now=0.0)
    quarantine.acquit(b"a")
    quarantine.strike([b"a"], now=1.0)
    assert quarantine.refused_for(b"a", now=1.0) == 0.0


def test_nobody_is_suspect_at_first() -> None:
    assert not Quarantine()
    assert not Quarantine().suspects(b"a", now=0.0)


@given(st.lists(st.binary(max_size=2), max_size=200), st.integers(1, 20))
def test_the_quarantine_never_grows_beyond_its_capacity_and_keeps_the_latest(
    suspects: list[bytes], capacity: int
) -> None:
    quarantine = Quarantine(capacity=capacity)
    for now, suspect in enumerate(suspects):
        quarantine.strike([suspect], float(now))
    latest = list(dict.fromkeys(reversed(suspects)))
    assert [s for s in latest if quarantine.suspects(s, float(len(suspects)))] == latest[:capacity]


REQUEST = Submit(id=1, messages=[ChatMessage("user", "Bonjour")], sampling=Sampling(temperature=0.0))


def test_a_fingerprint_depends_on_what_is_computed_and_on_nothing_else() -> None:
    same = Submit(id=2, messages=REQUEST.messages, sampling=REQUEST.sampling, priority=3, fairness_key="k")
    assert fingerprint("m", same) == fingerprint("m", REQUEST)
    others = [
        fingerprint("another", REQUEST),
        fingerprint("m", Submit(id=1, messages=REQUEST.messages)),
        fingerprint("m", Submit(id=1, prompt="Bonjour", sampling=REQUEST.sampling)),
        fingerprint("m", Submit(id=1, messages=[ChatMessage("user", "Bonsoir")], sampling=REQUEST.sampling)),
    ]
    assert len({fingerprint("m", REQUEST), *others}) == 5


def test_a_suspect_runs_alone_and_a_quarantined_request_is_told_for_how_long() -> None:
    suspects = Suspects("m", Quarantine(), clock=lambda: 0.0)
    assert suspects.admit(REQUEST) is REQUEST
    suspects.strike([REQUEST])
    assert suspects.admit(REQUEST).alone
    suspects.strike([REQUEST])
    with pytest.raises(RequestQuarantined, match="Change it") as refusal:
        suspects.admit(REQUEST)
    assert refusal.value.retry_after == HOUR
