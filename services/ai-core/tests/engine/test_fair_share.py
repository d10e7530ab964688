from __future__ import annotations

from ai_core.engine.fair_share import FairShare


def test_the_key_that_was_given_least_is_furthest_behind() -> None:
    share = FairShare()
    share.charge("a", 300, {"a", "b"})
    share.charge("b", 100, {"a", "b"})
    assert share.start("b") < share.start("a")


def test_a_newcomer_begins_where_the_furthest_behind_is() -> None:
    share = FairShare()
    for _ in range(3):
        share.charge("a", 100, {"a", "b"})
        share.charge("b", 100, {"a", "b"})
    assert share.start("new") == 200 < share.start("a") == share.start("b") == 300


def test_keys_that_come_once_are_forgotten_in_time() -> None:
    share = FairShare()
    share.charge("once", 1000, {"busy", "once"})
    share.charge("busy", 1000, {"busy", "patient"})
    assert share.start("once") > share.start("new")
    for number in range(2000):
        share.charge(f"visitor {number}", 100, {"busy", "patient"})
    assert share.start("once") == share.start("new")


def test_keys_that_wait_are_not_forgotten() -> None:
    share = FairShare()
    share.charge("busy", 1000, {"busy", "patient"})
    for number in range(2000):
        share.charge(f"visitor {number}", 100, {"busy", "patient"})
    assert share.start("busy") == 1000
