"""Documents read by a process of their own: what there is to read, and what hostile ones come to.

Where a test looks at the confinement itself, a script stands in the place of antiword: it runs where a parser
with a hole would run, and tells what it can do there.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

import document_samples as samples
from servicekit.documents.extractor import ConfinedExtractor
from servicekit.documents.port import DocumentRefused, ExtractorUnavailable, Kind, Limits, Refusal
from servicekit.documents.programs import missing

PATIENCE = 30.0


async def refusal_of(
    data: bytes, limits: Limits | None = None, *, name: str = "", content_type: str = ""
) -> Refusal:
    with pytest.raises(DocumentRefused) as caught:
        await ConfinedExtractor(limits or Limits()).extract(data, name=name, content_type=content_type)
    return caught.value.refusal


class Intruder:
    """A script that runs in antiword's place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def does(self, script: str) -> None:
        (self.folder / "antiword").write_text(script)
        (self.folder / "antiword").chmod(0o755)

    def left(self) -> set[str]:
        """What lies in the folder where temporary files go."""
        return {path.name for path in self.folder.iterdir()}

    @property
    def pid(self) -> int | None:
        """What the script wrote to ``pid``."""
        told = self.folder / "pid"
        return int(told.read_text() or 0) if told.exists() else None


@pytest.fixture
def intruder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Intruder:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", "1:secret")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return Intruder(tmp_path)


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 — other processes give no signal
            await asyncio.sleep(0.01)


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


DOC = samples.word_97("a")
CALLER = """
import asyncio, sys
from servicekit.documents.extractor import ConfinedExtractor
asyncio.run(ConfinedExtractor().extract(sys.stdin.buffer.read()))
"""
REPORT = """#!{python} -I
import os, resource, socket
print(sorted(os.environ))
print(os.listdir("."))
print(os.getpriority(os.PRIO_PROCESS, 0))
limits = (resource.RLIMIT_AS, resource.RLIMIT_NOFILE, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE)
print([resource.getrlimit(limit)[1] for limit in limits])
try:
    socket.create_connection(("127.0.0.1", {port}), 1)
    print("connected")
except OSError:
    print("alone")
"""


@pytest.mark.parametrize(
    ("data", "text", "kind"),
    [
        (samples.pdf("Le préavis (court).", "La suite."), "Le préavis (court).\n\nLa suite.", Kind.PDF),
        (samples.encrypted(samples.pdf("Not to change."), "", "owner"), "Not to change.", Kind.PDF),
        (
            samples.word("Bonjour,", "ça va ?", rows=(("nom", "âge"), ("Zoé", "7"))),
            "Bonjour,\nça va ?\nnom | âge\nZoé | 7",
            Kind.DOCX,
        ),
        (samples.word_97("Congés payés :\n25 jours"), "Congés payés :\n25 jours", Kind.DOC),
        (b"\xef\xbb\xbf# Titre\r\n\r\nDu texte\r\n", "# Titre\n\nDu texte", Kind.TEXT),
        ("nom;ville\nZoé;Nîmes\n".encode("cp1252"), "nom;ville\nZoé;Nîmes", Kind.TEXT),
        (b"<!doctype html><style>p{}</style><p>Bonjour<p>\xc3\xa0 vous", "Bonjour\n\nà vous", Kind.HTML),
    ],
)
async def test_documents_are_read(data: bytes, text: str, kind: Kind) -> None:
    document = await ConfinedExtractor().extract(data, name="../../etc/passwd")
    assert (document.text, document.kind, document.cut) == (text, kind, False)


async def test_the_text_of_a_picture_is_read_in_french_and_english() -> None:
    assert missing() == []
    document = await ConfinedExtractor().extract(samples.LETTER_PNG.read_bytes(), name="photo.jpg")
    assert " ".join(document.text.split()) == samples.LETTER


async def test_a_declared_charset_is_believed() -> None:
    data = "Привет, как дела?".encode("koi8-r")
    document = await ConfinedExtractor().extract(data, content_type='text/plain; charset="KOI8-R"')
    assert document.text == "Привет, как дела?"


async def test_what_is_too_long_is_cut_and_that_is_said() -> None:
    extractor = ConfinedExtractor(Limits(characters=10))
    for data in (
        b"0123456789 and more",
        samples.pdf("0123456", "89 and more"),
        samples.word("0123456789", "more"),
    ):
        document = await extractor.extract(data)
        assert document.cut
        assert len(document.text) in {9, 10}
    assert not (await extractor.extract(b"0123456789")).cut


HOSTILE: dict[str, tuple[Callable[[], bytes], Refusal]] = {
    "a PDF with a password": (lambda: samples.encrypted(samples.pdf("a"), "secret"), Refusal.ENCRYPTED),
    "ten thousand pages": (lambda: samples.many_pages(10_000), Refusal.TOO_MANY_PAGES),
    "a PDF that unpacks to 100 MB": (samples.pdf_bomb, Refusal.TOO_LARGE),
    "a PDF nested too deeply": (samples.deep_pdf, Refusal.UNREADABLE),
    "half a PDF": (lambda: samples.pdf("a" * 1000)[:700], Refusal.UNREADABLE),
    "a PDF without text": (lambda: samples.pdf(""), Refusal.EMPTY),
    "a DOCX that unpacks to 120 MB": (samples.zip_bomb, Refusal.TOO_LARGE),
    "the same, saying that it is small": (samples.lying_zip_bomb, Refusal.UNREADABLE),
    "half a DOCX": (lambda: samples.word("a")[:5_000], Refusal.UNREADABLE),
    "some archive": (lambda: samples.archive(a=b"b"), Refusal.UNSUPPORTED),
    "an old spreadsheet": (lambda: samples.compound_file({"Workbook": b"a"}), Refusal.UNREADABLE),
    "half a picture": (lambda: samples.LETTER_PNG.read_bytes()[:300], Refusal.UNREADABLE),
}


@pytest.mark.parametrize("what", HOSTILE)
async def test_hostile_documents_are_refused_and_the_caller_does_not_grow(what: str) -> None:
    make, refusal = HOSTILE[what]
    data = make()
    before = psutil.Process().memory_info().rss
    assert await refusal_of(data) is refusal
    assert psutil.Process().memory_info().rss - before < 20_000_000


async def test_a_document_that_takes_for_ever_is_given_up() -> None:
    assert await refusal_of(samples.slow_pdf(), Limits(seconds=1)) is Refusal.TIMED_OUT


async def test_one_document_that_takes_long_does_not_hold_up_the_next(intruder: Intruder) -> None:
    intruder.does(f"#!/bin/sh\necho $$ > {intruder.folder}/pid\nexec sleep 60\n")
    extractor = ConfinedExtractor()
    slow = asyncio.create_task(extractor.extract(DOC))
    await until(lambda: intruder.pid)
    assert (await extractor.extract(b"quick")).text == "quick"
    assert not slow.done()
    slow.cancel()
    await asyncio.wait({slow})


async def test_too_many_bytes_are_refused_unread() -> None:
    assert await refusal_of(b"a" * 101, Limits(input_bytes=100)) is Refusal.TOO_LARGE


async def test_a_document_needs_no_more_memory_than_it_may_have() -> None:
    data = samples.zip_bomb(90_000_000)
    assert await refusal_of(data, Limits(memory_bytes=150_000_000)) in {Refusal.TOO_LARGE, Refusal.UNREADABLE}


async def test_what_the_machine_lacks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert await refusal_of(DOC) is Refusal.NOT_INSTALLED
    assert await refusal_of(samples.LETTER_PNG.read_bytes()) is Refusal.NOT_INSTALLED
    assert [line.rpartition("install ")[2] for line in missing()] == [
        "tesseract-ocr tesseract-ocr-fra tesseract-ocr-eng",
        "antiword",
    ]


async def test_an_intruder_finds_no_secret_no_file_and_nobody_to_talk_to(intruder: Intruder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        intruder.does(REPORT.format(python=sys.executable, port=door.getsockname()[1]))
        limits = Limits(memory_bytes=900_000_000, seconds=20)
        report = (await ConfinedExtractor(limits).extract(DOC)).text.split("\n")
    assert report[0] == "['HOME', 'LANG', 'OMP_THREAD_LIMIT', 'PATH', 'TMPDIR']"
    assert report[1] == "[]"
    assert int(report[2]) >= 10
    assert report[3] == "[900000000, 64, 20, 1000000]"
    permitted = await asyncio.create_subprocess_exec("unshare", "--user", "--net", "true")
    assert report[4] == ("connected" if await permitted.wait() else "alone")


async def test_a_program_that_writes_for_ever_is_stopped_when_there_is_enough(intruder: Intruder) -> None:
    intruder.does("#!/bin/sh\nyes\n")
    document = await ConfinedExtractor(Limits(characters=1_000)).extract(DOC)
    assert len(document.text) <= 1_000
    assert document.cut


async def test_nothing_is_left_on_the_disk_and_never_much_lies_there(intruder: Intruder) -> None:
    intruder.does("#!/bin/sh\nhead -c 5000000 /dev/zero > big\nwc -c < big\n")
    document = await ConfinedExtractor().extract(DOC)
    assert int(document.text) <= 1_000_000
    assert intruder.left() == {"antiword"}


async def test_children_end_with_what_was_given_up(intruder: Intruder) -> None:
    intruder.does(f"#!/bin/sh\nsleep 60 & echo $! > {intruder.folder}/pid\nwait\n")
    assert await refusal_of(DOC, Limits(seconds=4)) is Refusal.TIMED_OUT
    assert intruder.pid
    await until(lambda: gone(intruder.pid or 0))


async def test_reading_ends_with_whoever_no_longer_waits(intruder: Intruder) -> None:
    intruder.does(f"#!/bin/sh\necho $$ > {intruder.folder}/pid\nexec sleep 60\n")
    task = asyncio.create_task(ConfinedExtractor().extract(DOC))
    await until(lambda: intruder.pid)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert gone(intruder.pid or 0)
    assert intruder.left() == {"antiword", "pid"}


async def test_reading_ends_with_a_caller_that_was_killed(intruder: Intruder) -> None:
    intruder.does(f"#!/bin/sh\necho $$ > {intruder.folder}/pid\nexec sleep 60\n")
    caller = await asyncio.create_subprocess_exec(sys.executable, "-c", CALLER, stdin=asyncio.subprocess.PIPE)
    assert caller.stdin is not None
    caller.stdin.write(DOC)
    caller.stdin.close()
    await until(lambda: intruder.pid)
    caller.kill()
    await caller.wait()
    await until(lambda: gone(intruder.pid or 0))
    assert {path.name for path in files_in(intruder.folder)} == {"antiword", "pid"}


@pytest.mark.parametrize(
    ("number", "refusal"),
    [
        (signal.SIGSEGV, Refusal.UNREADABLE),
        (signal.SIGKILL, Refusal.TOO_LARGE),
        (signal.SIGXCPU, Refusal.TIMED_OUT),
    ],
)
async def test_a_crash_is_the_documents_fault(
    intruder: Intruder, number: signal.Signals, refusal: Refusal
) -> None:
    intruder.does(f"#!/bin/sh\nkill -{number.value} $$\n")
    assert await refusal_of(DOC) is refusal


async def test_a_machine_without_room_is_not_the_documents_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    with pytest.raises(ExtractorUnavailable):
        await ConfinedExtractor().extract(b"a")
