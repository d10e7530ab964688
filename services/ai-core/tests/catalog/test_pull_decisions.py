"""How long to wait, how fast it goes, what to order, and who may change a folder."""

from __future__ import annotations

import multiprocessing
import shutil
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_core.catalog.hub.locking import locked
from ai_core.catalog.hub.orders import Terms, order_for
from ai_core.catalog.hub.patience import LONGEST_WAIT, Patience, retry_after_of
from ai_core.catalog.hub.progress import WINDOW, Rate
from ai_core.catalog.models import Catalog, HubSource, ModelEntry
from ai_core.errors import InvalidRequest, ModelNotFound

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_waits_grow_and_end() -> None:
    waits = [Patience(8).wait(attempt, None) for attempt in range(1, 9)]
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, None]


@given(st.integers(1, 20), st.integers(1, 20), st.one_of(st.none(), st.floats(0, 10_000)))
def test_a_wait_is_what_was_asked_for_or_none_at_all(
    attempts: int, attempt: int, asked: float | None
) -> None:
    wait = Patience(attempts).wait(attempt, asked)
    if attempt >= attempts or (asked is not None and asked > LONGEST_WAIT):
        assert wait is None
    elif asked is not None:
        assert wait == asked
    else:
        assert wait is not None
        assert 1.0 <= wait <= 30.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("soon", None),
        ("-5", None),
        ("", None),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0),
        ("Sat, 21 Nov 2026 12:00:00", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after_of(header, NOW) == seconds


def test_a_rate_is_that_of_the_last_seconds() -> None:
    rate = Rate()
    assert rate.per_second is None
    rate.moved(0.0, 1_000)
    assert rate.seconds_left(2_000) is None
    for second in range(1, 100):
        rate.moved(float(second), 1_000 + second * (10 if second <= 50 else 30))
    assert rate.per_second == pytest.approx(30.0)
    assert rate.seconds_left(10_000) == pytest.approx((10_000 - 3_970) / 30)
    # What was damaged comes again from the beginning: nobody is told of a rate below zero.
    rate.moved(100.0, 0)
    assert rate.per_second is None
    rate.moved(101.0, 50)
    assert rate.per_second == pytest.approx(50.0)


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 10**9)), min_size=2, max_size=50))
def test_a_rate_is_never_negative(steps: list[tuple[float, int]]) -> None:
    rate, now, done = Rate(), 0.0, 0
    for seconds, more in steps:
        now, done = now + seconds, done + more
        rate.moved(now, done)
        assert rate.per_second is None or rate.per_second >= 0
    assert now < WINDOW or rate.per_second is not None or now == 0


def test_an_order_says_what_the_models_file_says() -> None:
    terms = Terms(Path("models"), "https://hub.example", "hf_secret", budget=8_000_000_000)
    hub = HubSource("owner/name", "*q8_0*", "v1.0")
    entry = ModelEntry(
        "neo", Path("models/hub/owner/name/v1.0"), hub=hub, quantization="Q8_0", aliases=("n",)
    )
    small = ModelEntry("small", Path("x"), "transformers", hub=HubSource("owner/small"), max_memory=10**9)
    catalog = Catalog([entry, small, ModelEntry("local", Path("local.gguf"))])
    order = order_for("n", catalog, terms)
    assert (order.repository, order.revision, order.pattern) == ("owner/name", "v1.0", "*q8_0*")
    assert (order.form, order.quantization, order.budget) == ("gguf", "Q8_0", 8_000_000_000)
    assert order.folder == "models/hub/owner/name/v1.0"
    assert order_for("small", catalog, terms).budget == 10**9
    other = order_for("owner/other", catalog, terms)
    assert (other.form, other.folder) == (None, "models/hub/owner/other/main")
    for thing in (order, terms):
        assert "hf_secret" not in repr(thing)
    with pytest.raises(InvalidRequest, match=r"'local' is not from the hub: it is at local\.gguf"):
        order_for("local", catalog, terms)
    with pytest.raises(ModelNotFound):
        order_for("nothing", catalog, terms)


def _hold(folder: Path, held: Event, release: Event) -> None:
    with locked(folder):
        held.set()
        release.wait()
        # As a removal does: whoever waits must not take the lock of a folder that is gone.
        shutil.rmtree(folder)


def test_one_process_at_a_time_changes_a_folder(tmp_path: Path) -> None:
    processes = multiprocessing.get_context("spawn")
    held, release = processes.Event(), processes.Event()
    folder = tmp_path / "folder"
    other = processes.Process(target=_hold, args=(folder, held, release))
    other.start()
    held.wait()
    waited = 0

    def waiting() -> None:
        nonlocal waited
        waited += 1
        release.set()

    with locked(folder, waiting):
        assert waited >= 1
        assert (folder / ".lock").is_file()
    other.join()
    assert other.exitcode == 0
