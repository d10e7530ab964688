import pytest
from hypothesis import given
from hypothesis import strategies as st

from workspace_setup.locks import split

LOCK = """\
anyio==4.16.0 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via
    #   httpx
llama-cpp-python==0.3.36 \\
    --hash=sha256:cc
    # via -r requirements/run.in
llama-cpp-python-extra==1 \\
    --hash=sha256:dd
"""


def test_an_entry_is_taken_out_whole() -> None:
    entry, rest = split(LOCK, "llama-cpp-python")
    assert entry.startswith("llama-cpp-python==0.3.36 ")
    assert entry.endswith("requirements/run.in\n")
    assert "0.3.36" not in rest
    assert "llama-cpp-python-extra==1" in rest


def test_a_package_that_is_not_there() -> None:
    with pytest.raises(KeyError):
        split(LOCK, "cpp")


names = st.text("abcxyz", min_size=1, max_size=5)


@given(st.dictionaries(names, st.integers(0, 3), min_size=1), st.data())
def test_nothing_is_lost(packages: dict[str, int], data: st.DataObject) -> None:
    entries = {
        name: f"{name}==1 \\\n" + "".join(f"    --hash=sha256:{number}\n" for number in range(count))
        for name, count in packages.items()
    }
    chosen = data.draw(st.sampled_from(sorted(packages)))
    entry, rest = split("".join(entries.values()), chosen)
    assert entry == entries[chosen]
    assert rest == "".join(text for name, text in entries.items() if name != chosen)
