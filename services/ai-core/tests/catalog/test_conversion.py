"""Converting safetensors for OpenVINO: once, however many ask; nothing half-made is used. The converter's
environment is a stand-in here that writes what a real one would (a test over HTTP uses the real one)."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import textwrap
from pathlib import Path

import pytest

from ai_core.catalog.conversion import converting
from ai_core.catalog.conversion.converting import CannotConvert, convert
from ai_core.catalog.conversion.manifest import MANIFEST, conversions, digest_of, existing, read
from ai_core.engine.backends.openvino.prepared import REVISION as PREPARED
from ai_core_service import DEMO_MODEL
from model_twins import ModelTwins

EXPORT = """
    import shutil, sys, time
    from pathlib import Path
    source, folder, form = sys.argv[1:]
    marks = Path({marks!r})
    (marks / f"began-{{form}}-{{time.monotonic_ns()}}").touch()
    while (marks / "wait").exists():
        time.sleep(0.02)
    if (marks / "fail").exists():
        sys.exit("no such shape: mamba")
    shutil.copytree({ir!r}, folder)
"""


@pytest.fixture
def source(twins: ModelTwins, tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    shutil.copytree(twins.safetensors, folder, copy_function=os.link)
    return folder


@pytest.fixture(scope="module")
def ir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model's graph as OpenVINO's own reader of GGUF files writes it."""
    from ai_core.engine.backends.openvino.prepare import _from_gguf

    return _from_gguf(DEMO_MODEL, tmp_path_factory.mktemp("ir"))


@pytest.fixture
def marks(tmp_path: Path, ir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the stand-in leaves traces, and finds what to do."""
    marks = tmp_path / "marks"
    marks.mkdir()
    script = tmp_path / "export.py"
    script.write_text(textwrap.dedent(EXPORT.format(marks=str(marks), ir=str(ir))))
    monkeypatch.setattr(converting, "EXPORT", script)

    async def python(*_arguments: object) -> Path:
        return Path(sys.executable)

    monkeypatch.setattr(converting, "converter_python", python)
    return marks


def began(marks: Path) -> int:
    return len(list(marks.glob("began-*")))


def ignore(share: float, what: str) -> None:
    """Progress that nobody looks at."""
    assert 0 <= share <= 1
    assert what


async def test_a_model_is_converted_once_however_many_ask(source: Path, marks: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    assert existing(source, kept, "int8") is None
    folders = await asyncio.gather(*(convert(source, kept, "int8", ignore) for _ in range(3)))
    assert len(set(folders)) == 1
    assert began(marks) == 1
    assert await convert(source, kept, "int8", ignore) == folders[0] == existing(source, kept, "int8")
    assert began(marks) == 1
    found = read(folders[0])
    assert found is not None
    assert (found.source, found.form, found.prepared) == (str(source), "int8", PREPARED)
    assert {"openvino_model.xml", "openvino_model.bin", "tokenizer.json", "config.json"} <= {
        path.name for path in folders[0].iterdir()
    }


async def test_each_quantization_is_kept_and_listed_and_a_changed_model_is_converted_again(
    source: Path, marks: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    for quantization in ("int8", "4bit"):
        await convert(source, kept, quantization, ignore)
    assert [found.quantization for _, found in conversions(kept)] == ["4bit", "int8"]
    before = digest_of(source)
    config = json.loads((source / "config.json").read_bytes())
    (source / "config.json").unlink()
    (source / "config.json").write_text(json.dumps(config | {"comment": "another one"}))
    assert digest_of(source) != before
    assert existing(source, kept, "int8") is None
    await convert(source, kept, "int8", ignore)
    assert [found.quantization for _, found in conversions(kept)] == ["int8"]
    assert began(marks) == 3


async def test_what_was_interrupted_is_not_used_and_is_made_anew(
    source: Path, marks: Path, tmp_path: Path
) -> None:
    kept, wait = tmp_path / "kept", marks / "wait"
    wait.touch()
    work = asyncio.create_task(convert(source, kept, "int8", ignore))
    # A file made by another process: nothing wakes us.
    while not began(marks):  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert conversions(kept) == []
    assert existing(source, kept, "int8") is None
    wait.unlink()
    folder = await convert(source, kept, "int8", ignore)
    assert [path for path, _ in conversions(kept)] == [folder]
    (folder / MANIFEST).unlink()
    assert existing(source, kept, "int8") is None


async def test_what_the_converter_says_is_told(source: Path, marks: Path, tmp_path: Path) -> None:
    (marks / "fail").touch()
    with pytest.raises(CannotConvert, match="gave up while converting the weights: no such shape: mamba"):
        await convert(source, tmp_path / "kept", "int8", ignore)
    with pytest.raises(CannotConvert, match="'8bit' is none of none, int8, 4bit"):
        await convert(source, tmp_path / "kept", "8bit", ignore)
    assert conversions(tmp_path / "kept") == []


def test_the_conversion_and_the_engine_agree_on_what_is_prepared() -> None:
    assert converting.PREPARED == PREPARED
