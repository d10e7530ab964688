"""The converter's environment is really made, with pip, from wheels that lie in a folder."""

import asyncio
import contextlib
import hashlib
import zipfile
from pathlib import Path

import pytest

from ai_core.catalog.conversion.environment import ConverterUnavailable, converter_python, environ, ready


class Index:
    """A folder that pip takes packages from, and locks of what is in it."""

    def __init__(self, folder: Path) -> None:
        self.wheels = folder / "wheels"
        self.requirements = folder / "requirements"
        self.wheels.mkdir()
        self.requirements.mkdir()

    def wheel(self, name: str, code: str = "") -> str:
        """Put a package in; returns its line in a lock with hashes."""
        path = self.wheels / f"{name}-1-py3-none-any.whl"
        about = f"{name}-1.dist-info"
        files = {
            f"{name}.py": code,
            f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n",
            f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        record = "".join(f"{file},,\n" for file in files) + f"{about}/RECORD,,\n"
        with zipfile.ZipFile(path, "w") as archive:
            for file, text in {**files, f"{about}/RECORD": record}.items():
                archive.writestr(file, text)
        return f"{name}==1 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"

    def lock(self, hashed: str, torch: str = "torch==1\n") -> None:
        (self.requirements / "converter.txt").write_text(hashed)
        (self.requirements / "torch.txt").write_text(torch)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    index = Index(tmp_path)
    index.wheel("torch", "answer = 42")
    index.lock(index.wheel("optimum", "import torch\nprint(torch.answer)"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index.wheels))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return index


async def make(index: Index, folder: Path) -> tuple[Path, list[tuple[float, str]]]:
    heard: list[tuple[float, str]] = []
    python = await converter_python(lambda *said: heard.append(said), folder, index.requirements)
    return python, heard


async def test_made_by_one_for_all_who_wait_and_used_by_all_who_come_later(
    index: Index, tmp_path: Path
) -> None:
    folder = tmp_path / "converter"
    assert ready(folder, index.requirements) is None
    (first, heard), (second, waited) = await asyncio.gather(make(index, folder), make(index, folder))
    assert first == second == ready(folder, index.requirements)
    said, unsaid = (heard, waited) if heard else (waited, heard)
    assert [share for share, _ in said] == sorted(share for share, _ in said)
    assert said[-1][0] == 1
    assert "fetching optimum-1-py3-none-any.whl" in [what for _, what in said]
    assert unsaid == []
    run = await asyncio.create_subprocess_exec(
        first, "-c", "import optimum", env=environ(), stdout=asyncio.subprocess.PIPE
    )
    assert (await run.communicate())[0] == b"42\n"
    assert await make(index, folder) == (first, [])
    # Other locks are another environment.
    index.lock(index.wheel("optimum", "print('newer')"))
    assert ready(folder, index.requirements) is None


async def test_a_package_that_cannot_be_had_or_is_not_the_one_of_the_lock(
    index: Index, tmp_path: Path
) -> None:
    folder = tmp_path / "converter"
    index.lock("elsewhere==1 --hash=sha256:" + 64 * "0" + "\n")
    with pytest.raises(ConverterUnavailable, match=r"`make converter` tries it again.*elsewhere==1"):
        await make(index, folder)
    assert ready(folder, index.requirements) is None
    assert "elsewhere" in (tmp_path / "converter.log").read_text()


async def test_who_no_longer_waits_leaves_nothing_that_looks_like_an_environment(
    index: Index, tmp_path: Path
) -> None:
    folder = tmp_path / "converter"
    begun = asyncio.Event()
    making = asyncio.create_task(converter_python(lambda *said: begun.set(), folder, index.requirements))
    await begun.wait()
    making.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await making
    assert making.cancelled()
    assert ready(folder, index.requirements) is None


async def test_without_the_locks_it_is_said_where_models_can_be_converted(tmp_path: Path) -> None:
    with pytest.raises(ConverterUnavailable, match="where the whole repository is"):
        await converter_python(lambda *said: None, tmp_path / "converter", tmp_path)


async def test_a_folder_that_cannot_be_written(index: Index, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConverterUnavailable, match=r"cannot be made in .*file"):
        await make(index, tmp_path / "file" / "converter")


def test_the_converter_asks_nobody_and_reports_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    assert environ()["HF_HUB_OFFLINE"] == "1"
    assert environ()["HF_HUB_DISABLE_TELEMETRY"] == "1"
    assert "PYTHONPATH" not in environ()
