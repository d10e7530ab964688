"""Models come from a hub: whole, checked, and only then served; whatever happens on the way."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ai_core.catalog.fetched import read_record
from ai_core.catalog.hub.messages import Completed, Event, Failed, Moved, Order, Planned, Waiting
from ai_core.catalog.hub.puller import Puller
from ai_core.catalog.models import HubSource, ModelEntry, ModelType
from ai_core.catalog.places import hub_folder, opened_path
from fake_hub import FakeHub, Fault, fake_hub

BIG = bytes(range(256)) * 8_000
"""Two megabytes: eight pieces."""
SOURCE = HubSource("owner/name")
PULLER = Puller(silence=60.0)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    # A proxy of this machine is no way to a server on it.
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with fake_hub() as hub:
        yield hub
        assert hub.refused == []


class Place(NamedTuple):
    """A folder of models and the hub that they come from."""

    models: Path
    hub: FakeHub

    @property
    def folder(self) -> Path:
        return hub_folder(self.models, SOURCE)

    def order(self, **more: Any) -> Order:
        return Order(repository="owner/name", folder=str(self.folder), endpoint=self.hub.url, **more)

    async def pull(self, puller: Puller = PULLER, **more: Any) -> list[Event]:
        return [event async for event in puller.events(self.order(**more))]

    async def fetch(self, **more: Any) -> Completed:
        last = (await self.pull(**more))[-1]
        assert isinstance(last, Completed), last
        return last

    async def fail(self, puller: Puller = PULLER, **more: Any) -> Failed:
        last = (await self.pull(puller, **more))[-1]
        assert isinstance(last, Failed), last
        return last

    def parts(self) -> list[Path]:
        return [*self.folder.glob(".incoming/*.part")]

    def opened(self, type_: ModelType = "gguf") -> Path | None:
        return opened_path(ModelEntry("model", self.folder, type_, hub=SOURCE))


def content_of(fetched: Completed) -> bytes:
    return Path(fetched.opened).read_bytes()


@pytest.fixture
def place(tmp_path: Path, hub: FakeHub) -> Place:
    return Place(tmp_path / "models", hub)


async def test_a_model_comes_whole_and_is_there_under_its_own_name(place: Place) -> None:
    place.hub.add("owner/name", {"m-Q8_0.gguf": BIG, "m-Q4_0.gguf": BIG[:9_000], "README.md": b"hello"})
    events = await place.pull(budget=10**9)
    planned, last = events[0], events[-1]
    assert isinstance(planned, Planned)
    assert (planned.files, planned.total, planned.have) == (1, len(BIG), 0)
    assert planned.said.startswith("Q8_0 (2.0 MB) is the largest of 2 quantizations")
    moved = [event for event in events if isinstance(event, Moved)]
    done = [event.done for event in moved if event.activity == "downloading"]
    assert done == sorted(done)
    assert done[-1] == len(BIG)
    assert isinstance(last, Completed)
    assert (Path(last.opened), last.form, last.already) == (place.folder / "m-Q8_0.gguf", "gguf", False)
    assert place.opened() == Path(last.opened)
    assert content_of(last) == BIG
    assert place.hub.fetched() == ["m-Q8_0.gguf"]
    assert not (place.folder / ".incoming").exists()


async def test_what_is_there_is_not_fetched_again(place: Place) -> None:
    place.hub.add("owner/name", {"m.gguf": BIG})
    await place.fetch()
    again = await place.fetch()
    assert again.already
    assert place.hub.fetched() == ["m.gguf"]


async def test_safetensors_come_with_all_that_belongs_to_them(place: Place) -> None:
    files = {
        "config.json": b"{}",
        "tokenizer.json": BIG[:5_000],
        "model-00001-of-00002.safetensors": BIG,
        "model-00002-of-00002.safetensors": BIG[7:],
        # The same content twice, and none at all.
        "generation_config.json": b"{}",
        "merges.txt": b"",
    }
    place.hub.add("owner/name", files | {"pytorch_model.bin": BIG})
    assert (await place.fetch(form="transformers")).opened == str(place.folder)
    assert {name: (place.folder / name).read_bytes() for name in files} == files
    assert place.opened("transformers") == place.folder
    assert not (place.folder / "pytorch_model.bin").exists()


async def test_onnx_and_adapters_come_as_folders(place: Place) -> None:
    onnx = {
        "cpu/int4/genai_config.json": b"{}",
        "cpu/int4/model.onnx.data": BIG,
        "cuda/genai_config.json": b"{}",
    }
    adapter = {"adapter_config.json": b"{}", "adapter_model.safetensors": BIG[:3_000]}
    place.hub.add("owner/name", onnx | adapter)
    assert (await place.fetch(form="onnx")).opened == str(place.folder / "cpu/int4")
    assert place.opened("onnx") == place.folder / "cpu/int4"
    assert not (place.folder / "cuda").exists()
    fetched = await place.fetch(form="peft")
    assert (fetched.opened, fetched.form) == (str(place.folder), "peft")
    assert (place.folder / "adapter_model.safetensors").read_bytes() == BIG[:3_000]


async def test_two_models_of_one_repository_lie_side_by_side(place: Place) -> None:
    place.hub.add("owner/name", {"m-Q8_0.gguf": BIG, "m-Q4_0.gguf": BIG[:9_000]})
    await place.fetch()
    small = await place.fetch(pattern="*q4_0*")
    assert Path(small.opened).name == "m-Q4_0.gguf"
    assert place.opened() == place.folder / "m-Q8_0.gguf"


async def test_a_connection_that_breaks_goes_on_where_it_stopped(place: Place) -> None:
    place.hub.add("owner/name", {"m.gguf": BIG})
    place.hub.faults += [Fault(cut=700_000), Fault(cut=600_000)]
    assert content_of(await place.fetch()) == BIG
    first, *others = place.hub.ranges()
    assert first is None
    # Whole pieces of 256 KiB are kept.
    assert others == ["bytes=524288-", "bytes=1048576-"]


async def test_a_process_that_is_killed_goes_on_where_it_stopped(place: Place) -> None:
    place.hub.add("owner/name", {"m.gguf": BIG})
    place.hub.faults.append(Fault(hang=1_100_000))
    async with contextlib.aclosing(PULLER.events(place.order())) as events:
        async for event in events:
            if isinstance(event, Moved):
                await until(lambda: any(part.stat().st_size >= 1_048_576 for part in place.parts()))
                break
    assert place.opened() is None
    planned = (await place.pull())[0]
    assert isinstance(planned, Planned)
    assert planned.have == 1_048_576
    assert place.hub.ranges() == [None, "bytes=1048576-"]
    opened = place.opened()
    assert opened is not None
    assert opened.read_bytes() == BIG


async def until(condition: Callable[[], bool]) -> None:
    """Waits for something that another process does without a word."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def test_one_pull_leaves_alone_what_another_has_begun(place: Place) -> None:
    place.hub.add("owner/name", {"m-Q8_0.gguf": BIG, "m-Q4_0.gguf": BIG[:9_000]})
    place.hub.faults.append(Fault(hang=1_100_000))
    async with contextlib.aclosing(PULLER.events(place.order())) as events:
        async for event in events:
            if isinstance(event, Moved):
                await until(lambda: any(part.stat().st_size >= 1_048_576 for part in place.parts()))
                break
    await place.fetch(pattern="*q4_0*")
    await place.fetch()
    assert place.hub.ranges() == [None, None, "bytes=1048576-"]
    assert place.parts() == []


async def test_a_line_on_which_nothing_comes_any_more_is_left(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "1")
    place.hub.add("owner/name", {"m.gguf": BIG})
    place.hub.faults.append(Fault(hang=600_000))
    assert content_of(await place.fetch()) == BIG
    assert place.hub.ranges() == [None, "bytes=524288-"]


async def test_a_process_that_says_nothing_is_replaced_by_another(place: Place) -> None:
    place.hub.add("owner/name", {"m.gguf": BIG})
    place.hub.faults.append(Fault(hang=600_000))
    events = await place.pull(Puller(silence=3.0))
    assert any(isinstance(event, Waiting) and "hangs" in event.why for event in events)
    assert isinstance(events[-1], Completed)
    assert len(place.hub.ranges()) == 2


async def test_a_download_that_never_moves_is_given_up(place: Place) -> None:
    place.hub.add("owner/name", {"m.gguf": BIG})
    place.hub.faults += [Fault(hang=0)] * 2
    failed = await place.fail(Puller(silence=3.0, restarts=1))
    assert failed.problem == "stalled"
    assert place.opened() is None


async def test_bytes_that_are_wrong_are_fetched_once_more(place: Place) -> None:
    place.hub.add("owner/name", {"m.gguf": BIG})
    place.hub.faults.append(Fault(spoil=True))
    assert content_of(await place.fetch()) == BIG
    assert place.hub.ranges() == [None, None]


async def test_what_stays_wrong_is_thrown_away_and_never_served(place: Place) -> None:
    place.hub.add("owner/name", {"m.gguf": BIG}, checksums={"m.gguf": "a" * 64})
    failed = await place.fail()
    assert failed.problem == "checksum_mismatch"
    assert "m.gguf arrived twice with another checksum" in failed.message
    assert place.opened() is None
    assert [path for path in place.folder.rglob("*") if path.is_file() and path.stat().st_size] == []


async def test_small_files_are_checked_too(place: Place) -> None:
    files = {"config.json": b"{}", "model.safetensors": BIG}
    place.hub.add("owner/name", files, checksums={"config.json": "b" * 40})
    assert (await place.fail(form="transformers")).problem == "checksum_mismatch"
    assert place.opened("transformers") is None


async def test_parts_of_an_older_commit_that_did_not_change_are_used(place: Place) -> None:
    files = {"config.json": b"{}", "model.safetensors": BIG}
    repository = place.hub.add("owner/name", files, checksums={"config.json": "b" * 40})
    await place.fail(form="transformers")
    repository.checksums.clear()
    repository.files["config.json"] = b'{"a": 1}'
    place.hub.seen.clear()
    await place.fetch(form="transformers")
    assert "model.safetensors" in [*repository.files]
    assert (place.folder / "model.safetensors").read_bytes() == BIG
    assert (place.folder / "config.json").read_bytes() == b'{"a": 1}'


async def test_a_new_commit_replaces_only_what_changed(place: Place) -> None:
    old = {"config.json": b"{}", "model.safetensors": BIG, "merges.txt": b"a b"}
    repository = place.hub.add("owner/name", old)
    await place.fetch(form="transformers")
    del repository.files["merges.txt"]
    repository.files["config.json"] = b'{"new": true}'
    place.hub.seen.clear()
    fetched = await place.fetch(form="transformers")
    assert not fetched.already
    assert place.hub.fetched() == ["config.json"]
    assert (place.folder / "config.json").read_bytes() == b'{"new": true}'
    assert not (place.folder / "merges.txt").exists()
    assert set(read_record(place.folder).files) == {"config.json", "model.safetensors"}


@pytest.mark.parametrize("status", [429, 503])
async def test_a_hub_that_asks_to_wait_is_waited_for(place: Place, status: int) -> None:
    place.hub.add("owner/name", {"m.gguf": BIG})
    at = {"Retry-After": "1"}
    place.hub.faults += [Fault("list", status=status, headers=at), Fault(status=status, headers=at)]
    events = await place.pull()
    waits = [event.seconds for event in events if isinstance(event, Waiting)]
    assert waits == [1.0, 1.0]
    assert isinstance(events[-1], Completed)


async def test_a_hub_that_asks_for_more_patience_than_we_have_is_told(place: Place) -> None:
    place.hub.add("owner/name", {"m.gguf": BIG})
    tomorrow = formatdate(4_000_000_000, usegmt=True)
    place.hub.faults.append(Fault("list", status=429, headers={"Retry-After": tomorrow}))
    failed = await place.fail()
    assert failed.problem == "hub_busy"
    assert failed.retry_after is not None
    assert failed.retry_after > 900


async def test_a_hub_that_cannot_be_reached_is_named(place: Place) -> None:
    nobody = "http://127.0.0.1:9"
    order = Order(repository="owner/name", folder=str(place.folder), endpoint=nobody, attempts=1)
    last = [event async for event in PULLER.events(order)][-1]
    assert isinstance(last, Failed)
    assert last.problem == "hub_unavailable"
    assert nobody in last.message


async def test_a_gated_model_wants_a_token_and_that_is_said(place: Place) -> None:
    place.hub.add("owner/name", {"m.gguf": BIG}, token="hf_right", gated=True)
    place.hub.add("owner/other", {"m.gguf": BIG}, token="hf_other")
    without = await place.fail()
    assert without.problem == "gated"
    assert "HUGGINGFACE_TOKEN" in without.message
    assert (await place.fail(token="hf_other")).problem == "gated"
    await place.fetch(token="hf_right")


async def test_a_private_model_is_not_there_without_its_token(place: Place) -> None:
    place.hub.add("owner/name", {"m.gguf": BIG}, token="hf_right")
    without = await place.fail()
    assert without.problem == "not_found"
    assert "set HUGGINGFACE_TOKEN if it is private" in without.message
    wrong = await place.fail(token="hf_wrong")
    assert wrong.problem == "token_refused"
    assert "hf_wrong" not in wrong.message
    await place.fetch(token="hf_right")


async def test_what_is_not_at_the_hub_is_said(place: Place) -> None:
    assert "no repository owner/name" in (await place.fail()).message
    place.hub.add("owner/name", {"README.md": b"nothing else"})
    assert "no revision 'v9'" in (await place.fail(revision="v9")).message
    nothing = await place.fail()
    assert nothing.problem == "nothing_to_fetch"
    assert "README.md" in nothing.message


async def test_the_disk_is_looked_at_before_anything_comes(place: Place) -> None:
    place.hub.add("owner/name", {"m.gguf": BIG}, sizes={"m.gguf": 10**15})
    place.folder.mkdir(parents=True)
    free = shutil.disk_usage(place.folder).free
    failed = await place.fail()
    assert failed.problem == "disk_full"
    assert "1000.0 TB are still to come" in failed.message
    assert free < 10**15
    assert place.hub.fetched() == []


async def test_two_processes_that_pull_the_same_share_one_download(place: Place) -> None:
    place.hub.add("owner/name", {"m.gguf": BIG})
    place.hub.faults.append(Fault(cut=300_000))
    both = await asyncio.gather(place.pull(), place.pull())
    assert all(isinstance(events[-1], Completed) for events in both)
    assert place.hub.ranges().count(None) == 1
    opened = place.opened()
    assert opened is not None
    assert hashlib.sha256(opened.read_bytes()).digest() == hashlib.sha256(BIG).digest()


async def test_a_file_that_changed_on_the_disk_is_fetched_again(place: Place) -> None:
    place.hub.add("owner/name", {"m.gguf": BIG})
    os.truncate((await place.fetch()).opened, 100)
    assert content_of(await place.fetch()) == BIG
