"""One decision over all models: who is loaded, who gives way, who waits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ai_core.residency.planning import Cause, NoRoom, Plan, Standing, Turns, decide

TURNS = Turns(5.0)
NOW = 1000.0


def plan(*models: Standing, budget: int = 100) -> Plan:
    return decide(models, budget, TURNS, NOW)


def resident(name: str, size: int, *, idle: float = 500.0, **more: object) -> Standing:
    facts = {
        "held": size,
        "full": size,
        "idle_since": NOW - idle,
        "ready_since": NOW - 900,
        "load_seconds": 2.0,
    }
    return Standing(name=name, phase="ready", **(facts | more))  # type: ignore[arg-type]


def wanted(name: str, size: int, *, waits: float = 0.0, **more: object) -> Standing:
    return Standing(name=name, full=size, waiting_since=NOW - waits, **more)  # type: ignore[arg-type]


def test_what_fits_is_loaded_and_nobody_leaves() -> None:
    made = plan(resident("a", 40), wanted("b", 60))
    assert (made.load, made.evict) == (["b"], {})


def test_an_idle_model_leaves_for_one_that_is_wanted_and_only_then_it_is_loaded() -> None:
    made = plan(resident("a", 60), wanted("b", 60))
    assert (made.load, made.evict) == ([], {"a": Cause.ROOM})
    leaving = Standing(name="a", phase="leaving", held=60, full=60)
    assert plan(leaving, wanted("b", 60)) == Plan()
    assert plan(Standing(name="a", full=60), wanted("b", 60)).load == ["b"]


def test_idle_caches_go_before_weights() -> None:
    made = plan(resident("a", 60, spare=30), wanted("b", 60))
    assert (made.rest, made.evict) == (["a"], {})


def test_a_busy_model_stays_and_keeps_its_door_open_for_its_turn() -> None:
    made = plan(resident("a", 60, users=2), wanted("b", 60, waits=4))
    assert (made.evict, made.closed, made.load) == ({}, set(), [])
    assert made.look_at == NOW + 1


def test_after_its_turn_the_door_of_a_busy_model_is_closed_until_the_other_one_was_served() -> None:
    made = plan(resident("a", 60, users=2, waiting_since=NOW - 1), wanted("b", 60, waits=6))
    assert (made.evict, made.closed, made.admit) == ({}, {"a"}, [])
    made = plan(resident("a", 60, waiting_since=NOW - 1), wanted("b", 60, waits=6))
    assert made.evict == {"a": Cause.ROOM}


def test_a_turn_counts_from_the_load_not_from_the_wait_of_others() -> None:
    made = plan(resident("a", 60, users=1, ready_since=NOW - 1), wanted("b", 60, waits=60))
    assert made.closed == set()
    assert made.look_at == NOW + 4


def test_a_model_used_a_moment_ago_is_given_a_little_time() -> None:
    made = plan(resident("a", 60, idle=0.5), wanted("b", 60))
    assert (made.evict, made.look_at) == ({}, NOW + 1.5)


def test_pinned_models_stay_and_what_does_not_fit_beside_them_is_refused() -> None:
    made = plan(resident("a", 60, pinned=True), wanted("b", 60))
    assert made.refuse == {"b": NoRoom(60, 100, 60)}
    assert made.evict == {}


def test_what_can_never_fit_is_refused_and_nobody_leaves_for_it() -> None:
    made = plan(resident("a", 60), wanted("b", 101))
    assert (made.refuse, made.evict) == ({"b": NoRoom(101, 100, 0)}, {})
    assert plan(wanted("b", 60, most=50)).refuse == {"b": NoRoom(60, 100, 0, 50)}


def test_a_later_one_that_fits_does_not_wait_behind_one_that_does_not() -> None:
    made = plan(resident("a", 60, users=1), wanted("b", 70, waits=3), wanted("c", 30, waits=1))
    assert (made.load, made.evict) == (["c"], {})


def test_a_later_one_does_not_take_what_an_earlier_one_waits_for() -> None:
    made = plan(resident("a", 60, users=1), wanted("b", 90, waits=3), wanted("c", 30, waits=1))
    assert made.load == []


def test_who_rests_is_let_in_when_there_is_room_for_the_cache() -> None:
    resting = resident("a", 60, full=80, waiting_since=NOW)
    assert plan(resting).admit == ["a"]
    made = plan(resting, resident("b", 40))
    assert (made.admit, made.evict) == ([], {"b": Cause.ROOM})


def test_a_model_that_was_not_used_for_long_rests_and_then_leaves() -> None:
    made = plan(resident("a", 60, spare=20, rests_at=NOW + 5, expires_at=NOW + 10))
    assert (made, made.look_at) == (Plan(look_at=NOW + 5), NOW + 5)
    assert plan(resident("a", 60, spare=20, rests_at=NOW, expires_at=NOW + 10)).rest == ["a"]
    assert plan(resident("a", 60, rests_at=NOW - 5, expires_at=NOW)).evict == {"a": Cause.KEEP_ALIVE}
    assert plan(resident("a", 60, users=1, expires_at=NOW)).evict == {}
    assert plan(resident("a", 60, pinned=True, expires_at=NOW)).evict == {}


def test_who_is_asked_to_leave_ends_its_work_and_lets_nobody_in() -> None:
    made = plan(resident("a", 60, users=1, waiting_since=NOW, leave=Cause.ASKED))
    assert (made.closed, made.evict, made.admit) == ({"a"}, {}, [])
    made = plan(resident("a", 60, waiting_since=NOW, leave=Cause.ASKED))
    assert made.evict == {"a": Cause.ASKED}


def test_models_that_grew_beyond_the_budget_make_room_at_once() -> None:
    made = plan(resident("a", 70, users=1), resident("b", 40))
    assert made.evict == {"b": Cause.GROWTH}


standings = st.lists(
    st.builds(
        Standing,
        name=st.uuids().map(str),
        phase=st.sampled_from(["absent", "loading", "ready", "leaving"]),
        held=st.integers(0, 60),
        full=st.integers(1, 60),
        spare=st.integers(0, 20),
        users=st.integers(0, 2),
        waiting_since=st.none() | st.floats(NOW - 60, NOW),
        idle_since=st.floats(NOW - 600, NOW),
        ready_since=st.floats(NOW - 600, NOW),
        load_seconds=st.floats(0, 30),
        weight=st.floats(0.1, 10),
        pinned=st.booleans(),
        leave=st.none() | st.just(Cause.ASKED),
        rests_at=st.none() | st.floats(NOW - 60, NOW + 60),
        expires_at=st.none() | st.floats(NOW - 60, NOW + 60),
    ),
    max_size=7,
)


def as_they_are(models: list[Standing]) -> list[Standing]:
    """Without what cannot be: an absent model holds nothing and has no users."""
    found = []
    for model in models:
        facts = {name: getattr(model, name) for name in model.__slots__}
        if model.phase == "absent":
            facts |= {"held": 0, "users": 0, "spare": 0}
        if model.phase == "leaving":
            facts |= {"users": 0, "spare": 0}
        facts["spare"] = min(facts["spare"], facts["held"])
        found.append(Standing(**facts))
    return found


@given(standings, st.integers(1, 150))
def test_whatever_comes_the_promises_are_kept(models: list[Standing], budget: int) -> None:
    models = as_they_are(models)
    by_name = {model.name: model for model in models}
    made = decide(models, budget, TURNS, NOW)
    free = budget - sum(model.held for model in models)
    taken = sum(by_name[name].needs for name in (*made.load, *made.admit))
    assert taken == 0 or taken <= free, "more was given out than there is"
    for name, cause in made.evict.items():
        model = by_name[name]
        assert not model.users, "a busy model was put out"
        assert not model.pinned or cause is Cause.ASKED, "a pinned model was put out"
        assert model.phase in {"ready", "loading"}
    assert not made.evict.keys() & {*made.load, *made.admit, *made.rest}
    assert not made.closed & set(made.admit)
    assert all(by_name[name].waiting_since is not None for name in (*made.load, *made.admit, *made.refuse))
    assert made.look_at is None or made.look_at > NOW


@given(standings, st.integers(1, 150))
def test_who_waits_and_fits_alone_is_never_forgotten(models: list[Standing], budget: int) -> None:
    """Either something happens for it now, or something is under way, or a moment is named."""
    models = as_they_are(models)
    made = decide(models, budget, TURNS, NOW)
    waiting = {model.name for model in models if model.waiting_since is not None}
    acted = {*made.load, *made.admit, *made.refuse}
    under_way = any(model.users or model.phase in {"loading", "leaving"} for model in models)
    # A load that begins now will end, and then it is decided anew.
    named = made.load or made.evict or made.rest or made.look_at is not None
    assert not waiting - acted or named or under_way
