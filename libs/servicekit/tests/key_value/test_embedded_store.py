"""The store in process is bounded, whatever is put into it."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from servicekit.key_value.embedded import ENTRY_BYTES, EmbeddedStore

LONG = 1000.0


def room_for(entries: int) -> EmbeddedStore:
    return EmbeddedStore(entries * (ENTRY_BYTES + 100))


async def test_what_was_not_used_for_longest_goes_first() -> None:
    store = room_for(3)
    for key in "abc":
        await store.set(key, b"x" * 99, LONG)
    assert await store.get("a") is not None
    await store.set("d", b"x" * 99, LONG)
    assert [key for key in "abcd" if await store.get(key) is not None] == ["a", "c", "d"]


async def test_members_of_indexes_count_and_go_too() -> None:
    store = room_for(3)
    await store.index_put("i", "a", b"x" * 99, LONG)
    await store.index_put("j", "b", b"x" * 99, LONG)
    for key in "cd":
        await store.set(key, b"x" * 99, LONG)
    assert await store.index_list("i", 10) == []
    assert [member for member, _ in await store.index_list("j", 10)] == ["b"]


async def test_a_value_larger_than_all_room_is_forgotten_and_harms_nothing_that_fits() -> None:
    store = room_for(1)
    await store.set("large", b"x" * 10_000, LONG)
    assert await store.get("large") is None
    await store.set("small", b"x", LONG)
    assert await store.get("small") == b"x"


Steps = st.lists(
    st.tuples(
        st.sampled_from(["set", "get", "delete", "swap", "put", "remove", "list", "wait"]),
        st.sampled_from("abcdef"),
        st.integers(0, 700),
        st.sampled_from([1.0, 5.0, LONG]),
    )
)


@given(Steps)
def test_it_never_holds_more_than_its_bound_and_never_tells_anything_wrong(
    steps: list[tuple[str, str, int, float]],
) -> None:
    """Against a model that forgets nothing: the store may know less, but nothing else."""
    asyncio.run(_compare(steps))


async def _compare(steps: list[tuple[str, str, int, float]]) -> None:
    model = _Model()
    bound = 3 * (ENTRY_BYTES + 300)
    store = EmbeddedStore(bound, lambda: model.now)
    for action, name, size, ttl in steps:
        if action == "wait":
            model.now += ttl
        elif action in {"get", "delete", "swap", "set"}:
            await _compare_keys(store, model, action, name, name.encode() * size, ttl)
        else:
            await _compare_members(store, model, action, name, name.encode() * size, ttl)
        assert 0 <= store.used_bytes <= bound
        assert (store.used_bytes == 0) == (store.entries == 0)


class _Model:
    def __init__(self) -> None:
        self.now = 0.0
        self.values: dict[str, tuple[bytes, float]] = {}
        self.members: dict[str, tuple[bytes, float]] = {}


async def _compare_keys(
    store: EmbeddedStore, model: _Model, action: str, name: str, value: bytes, ttl: float
) -> None:
    match action:
        case "set":
            await store.set(name, value, ttl)
            model.values[name] = (value, model.now + ttl)
        case "swap":
            if await store.swap(name, None, value, ttl):
                model.values[name] = (value, model.now + ttl)
        case "delete":
            await store.delete(name)
            model.values.pop(name, None)
        case "get":
            found = await store.get(name)
            assert found is None or (found == model.values[name][0] and model.values[name][1] > model.now)


async def _compare_members(
    store: EmbeddedStore, model: _Model, action: str, name: str, value: bytes, ttl: float
) -> None:
    match action:
        case "put":
            await store.index_put("i", name, value, ttl)
            model.members[name] = (value, model.now + ttl)
        case "remove":
            await store.index_remove("i", name)
            model.members.pop(name, None)
        case "list":
            listed = await store.index_list("i", 10)
            assert all(model.members[member][0] == kept for member, kept in listed)
            ends = [model.members[member][1] for member, _ in listed]
            assert ends == sorted(ends, reverse=True)
            assert all(end > model.now for end in ends)
