"""Who gives way: the least valuable first, and nobody for nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ai_core.residency.eviction import Candidate, choose

candidates = st.lists(
    st.builds(
        Candidate,
        st.text("abcdefgh", min_size=1, max_size=4),
        st.integers(0, 100),
        st.floats(0, 1000),
        st.floats(0, 60),
        st.floats(0.01, 100),
    ),
    unique_by=lambda one: one.name,
    max_size=8,
)


def names(chosen: tuple[Candidate, ...] | None) -> list[str] | None:
    return None if chosen is None else [one.name for one in chosen]


def test_of_two_models_the_one_idle_for_longer_goes() -> None:
    models = [Candidate("used", 10, 5, 2), Candidate("forgotten", 10, 500, 2)]
    assert names(choose(models, 5)) == ["forgotten"]


def test_a_model_that_takes_long_to_load_stays_longer() -> None:
    models = [Candidate("quick", 10, 60, 1), Candidate("slow", 10, 100, 20)]
    assert names(choose(models, 5)) == ["quick"]


def test_weight_makes_a_model_stay_longer() -> None:
    models = [Candidate("light", 10, 60, 1), Candidate("heavy", 10, 100, 1, weight=10)]
    assert names(choose(models, 5)) == ["light"]


def test_a_small_model_is_not_put_out_where_a_large_one_has_to_go_anyway() -> None:
    models = [Candidate("embedder", 1, 900, 1), Candidate("chat", 50, 10, 1)]
    assert names(choose(models, 40)) == ["chat"]


@given(candidates, st.integers(-10, 400))
def test_the_choice_is_enough_and_holds_nobody_who_could_stay(models: list[Candidate], shortage: int) -> None:
    chosen = choose(models, shortage)
    if chosen is None:
        assert sum(one.frees for one in models) < shortage
        return
    freed = sum(one.frees for one in chosen)
    assert freed >= shortage
    assert all(freed - one.frees < shortage for one in chosen)
    assert len({one.name for one in chosen}) == len(chosen)


@given(candidates, st.integers(1, 400))
def test_the_most_valuable_of_those_alike_in_size_stays(models: list[Candidate], shortage: int) -> None:
    alike = [Candidate(one.name, 50, one.idle, one.load_seconds, one.weight) for one in models]
    chosen = choose(alike, shortage)
    if chosen is not None:
        stay = [one for one in alike if one not in chosen]
        assert all(gone.score >= stays.score for gone in chosen for stays in stay)
