"""`ai-core models`: what a person at a terminal, or a script, sees of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ai_core.__main__ import command
from ai_core.catalog.hub.progress import Rate
from ai_core.cli.models.bar import plain_line
from ai_core_service import AI_CORE, DEMO_MODEL
from fake_hub import FakeHub, Fault, fake_hub

DEMO = DEMO_MODEL.read_bytes()
REPOSITORY = "neo/demo-GGUF"


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with fake_hub() as hub:
        yield hub
        assert hub.refused == []


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: FakeHub) -> Path:
    """A folder to work in, and a hub with the demo model in it."""
    monkeypatch.chdir(tmp_path)
    for name in ("MODEL_PATH", "MODEL_NAME", "MODEL_CONFIG_PATH", "HUGGINGFACE_TOKEN", "MODEL_MEMORY_BUDGET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("COLUMNS", "200")
    # Nobody listens there: what is asked of a running server is told by the disk.
    monkeypatch.setenv("API_PORT", "9")
    monkeypatch.setenv("THREADS", "1")
    hub.add(REPOSITORY, {"neo-Q8_0.gguf": DEMO, "neo-Q4_0.gguf": DEMO[: len(DEMO) // 2]})
    models = {
        "neo": {"type": "gguf", "path": REPOSITORY, "file": "*q8_0.gguf", "aliases": ["demo"]},
        "local": {"type": "gguf", "path": str(DEMO_MODEL)},
    }
    (tmp_path / "config").mkdir()
    (tmp_path / "config/models.json").write_text(json.dumps({"models": models}))
    return tmp_path


Captured = pytest.CaptureFixture[str]


def models(capsys: Captured, *arguments: str) -> tuple[str, str]:
    """What a command that succeeds prints on standard output and standard error."""
    status = command(["models", *arguments])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    return captured.out, captured.err


def refusal(capsys: Captured, *arguments: str, status: int = 1) -> str:
    assert command(["models", *arguments]) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def row(capsys: Captured, name: str) -> str:
    out, _ = models(capsys, "list")
    return next(line for line in out.splitlines() if line.startswith(f"{name} "))


def test_pull_fetches_a_model_of_the_models_file_by_name_or_alias(capsys: Captured, home: Path) -> None:
    assert "–" in row(capsys, "neo")
    out, err = models(capsys, "pull", "neo")
    path = Path(out.strip())
    assert path == Path("var/models/hub/neo/demo-GGUF/main/neo-Q8_0.gguf")
    assert path.read_bytes() == DEMO
    assert "Q8_0 (8.5 MB)." in err
    assert "downloading neo-Q8_0.gguf: 100 % of 8.5 MB" in err
    assert "Fetched and checked: 8.5 MB." in err
    again, err = models(capsys, "pull", "demo")
    assert again == out
    assert "It was here already." in err
    assert "8.5 MB" in row(capsys, "neo")


def test_pull_of_a_repository_takes_what_fits_and_says_how_to_list_it(capsys: Captured) -> None:
    out, err = models(capsys, "pull", REPOSITORY)
    assert out.endswith("neo-Q8_0.gguf\n")
    assert "Q8_0 (8.5 MB) is the largest of 2 quantizations that fits the memory budget of" in err
    line = next(line for line in err.splitlines() if line.startswith("  "))
    listed = json.loads("{" + line + "}")
    assert listed == {"demo-gguf": {"type": "gguf", "path": REPOSITORY}}
    Path("config/models.json").write_text(json.dumps({"models": listed}))
    assert "8.5 MB" in row(capsys, "demo-gguf")


def test_the_memory_budget_decides_which_quantization_comes(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_MEMORY_BUDGET", "306MB")
    out, _ = models(capsys, "pull", REPOSITORY)
    assert out.endswith("neo-Q4_0.gguf\n")
    monkeypatch.setenv("MODEL_MEMORY_BUDGET", "300MB")
    assert "the smallest, Q4_0 (4.3 MB), needs about 304.7 MB" in refusal(capsys, "pull", REPOSITORY)


def test_pull_says_what_is_wrong_and_never_shows_the_token(
    capsys: Captured, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("neo/gated", {"m.gguf": DEMO}, token="hf_good", gated=True)
    assert "HUGGINGFACE_TOKEN" in refusal(capsys, "pull", "neo/gated")
    Path("token").write_text("hf_wrong\n")
    monkeypatch.setenv("HUGGINGFACE_TOKEN_FILE", "token")
    message = refusal(capsys, "pull", "neo/gated")
    assert "HUGGINGFACE_TOKEN" in message
    assert "hf_wrong" not in message
    Path("token").write_text("hf_good\n")
    out, err = models(capsys, "pull", "neo/gated")
    assert "hf_good" not in out + err
    assert refusal(capsys, "pull", "nothing-of-that-name").startswith(
        "ai-core: There is no model 'nothing-of-"
    )
    assert "is not from the hub" in refusal(capsys, "pull", "local")
    assert "no repository neo/nothing" in refusal(capsys, "pull", "neo/nothing")
    assert "leave the options away" in refusal(capsys, "pull", "neo", "--file", "*q4*")


def test_what_breaks_off_for_good_is_not_there(capsys: Captured, hub: FakeHub) -> None:
    hub.faults += [Fault(spoil=True)] * 2
    assert "arrived twice with another checksum" in refusal(capsys, "pull", "neo")
    assert "not here: ai-core models pull neo" in models(capsys, "list")[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_who_stops_a_pull_goes_on_with_it_later(capsys: Captured, hub: FakeHub, number: int) -> None:
    hub.faults.append(Fault(hang=3_000_000))
    environment = {name: os.environ[name] for name in ("PATH", "HF_ENDPOINT", "NO_PROXY", "API_PORT")}
    command_line = [str(AI_CORE), "models", "pull", "neo"]
    pull = subprocess.Popen(command_line, env=environment, stderr=subprocess.PIPE, text=True)
    hub.waiting.wait()
    # What was sent has to be written first, by another process.
    while not any(part.stat().st_size > 2_000_000 for part in Path("var").rglob("*.part")):
        assert pull.poll() is None
        time.sleep(0.01)
    pull.send_signal(number)
    _, said = pull.communicate()
    assert "Traceback" not in said
    if number == signal.SIGKILL:
        # Nobody could say good-bye: the process that fetches ends by itself, and lets go of the folder.
        assert pull.returncode == -number
    else:
        assert pull.returncode == 130
        assert "Stopped. What has come is kept." in said
    assert "are here already" in models(capsys, "pull", "neo")[1]
    assert hub.ranges()[1] is not None


def test_verify_finds_what_is_damaged_and_pull_repairs_it(capsys: Captured) -> None:
    path = Path(models(capsys, "pull", "neo")[0].strip())
    out, _ = models(capsys, "verify")
    assert out.splitlines() == ["neo: ok", "local: readable; it came without checksums"]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert command(["models", "verify", "neo"]) == 1
    assert (
        "neo: damaged: neo-Q8_0.gguf; 'ai-core models pull neo' fetches it again" in capsys.readouterr().out
    )
    assert "not here" in models(capsys, "list")[0]
    models(capsys, "pull", "neo")
    assert path.read_bytes() == DEMO
    assert models(capsys, "verify", "neo")[0] == "neo: ok\n"


def test_remove_asks_and_takes_only_what_was_fetched(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    models(capsys, "pull", "neo")
    assert "say --yes" in refusal(capsys, "remove", "neo")
    out, err = models(capsys, "remove", "neo", "--yes")
    assert out == "Removed: neo, 8.5 MB.\n"
    assert "still listed" in err
    assert not (home / "var/models/hub").exists()
    assert "neo was not here" in models(capsys, "remove", "neo", "--yes")[0]
    assert "the operator's own" in refusal(capsys, "remove", "local", "--yes")
    assert DEMO_MODEL.is_file()


def test_remove_leaves_what_another_model_of_the_repository_needs(capsys: Captured) -> None:
    models(capsys, "pull", "neo")
    other = Path(models(capsys, "pull", REPOSITORY, "--quantization", "Q4_0")[0].strip())
    both = Path(models(capsys, "pull", REPOSITORY)[0].strip())
    assert both.name == "neo-Q8_0.gguf"
    assert "another model of the repository needs them" in models(capsys, "remove", "neo", "--yes")[0]
    assert other.is_file()
    assert both.is_file()


def test_quantize_makes_a_model_of_its_own_name(capsys: Captured) -> None:
    out, err = models(capsys, "quantize", "local", "Q4_0")
    assert out == "local-q4_0\n"
    assert "quantizing local: 100 % of 8.5 MB" in err
    assert "8.5 MB became 2.8 MB" in err
    line = row(capsys, "local-q4_0")
    assert "2.8 MB" in line
    assert "gguf Q4_0" in line
    assert models(capsys, "verify", "local-q4_0")[0] == "local-q4_0: ok\n"
    assert "quantized already (Q4_0)" in refusal(capsys, "quantize", "local-q4_0", "Q8_0")
    path = Path("var/models/quantized/local-q4_0.gguf")
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\1")
    assert command(["models", "verify", "local-q4_0"]) == 1
    assert "damaged" in capsys.readouterr().out
    models(capsys, "remove", "local-q4_0", "--yes")
    assert not path.exists()
    assert "local-q4_0" not in models(capsys, "list")[0]


def test_quantize_refuses_in_a_sentence(capsys: Captured) -> None:
    assert "There is no quantization 'Q9_9'" in refusal(capsys, "quantize", "local", "Q9_9")
    assert "'ai-core models pull neo' fetches it" in refusal(capsys, "quantize", "neo", "Q4_0")
    assert "requires an imatrix" in refusal(capsys, "quantize", "local", "IQ2_XXS").splitlines()[-1]
    assert [*Path("var/models/quantized").iterdir()] == []


def test_remove_takes_what_a_damaged_model_left(capsys: Captured, hub: FakeHub, home: Path) -> None:
    parts = {f"s-Q8_0-{number:05}-of-00002.gguf": DEMO[:2_000] for number in (1, 2)}
    hub.add("neo/split", parts)
    listed = {"models": {"split": {"type": "gguf", "path": "neo/split"}}}
    Path("config/models.json").write_text(json.dumps(listed))
    first = Path(models(capsys, "pull", "split")[0].strip())
    first.write_bytes(b"GGUF" * 500)
    assert command(["models", "verify", "split"]) == 1
    capsys.readouterr()
    models(capsys, "remove", "split", "--yes")
    assert not (home / "var/models/hub").exists()


def test_serving_loads_nothing_that_only_fetching_needs() -> None:
    program = "import sys, ai_core.__main__; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "ai_core" in loaded
    assert loaded.isdisjoint({"huggingface_hub", "httpx2", "hf_xet", "tqdm", "llama_cpp"})


def test_a_broken_models_file_is_one_sentence(capsys: Captured) -> None:
    Path("config/models.json").write_text('{"models": {"x": {"type": "gguf"}}}')
    assert refusal(capsys, "list", status=2).startswith("ai-core: config/models.json: ")
    shutil.rmtree("config")
    assert "There is no model to serve" in refusal(capsys, "list", status=2)
    # The first model of a machine needs no models file.
    assert models(capsys, "pull", REPOSITORY)[0].endswith(".gguf\n")


def test_a_line_of_progress_tells_rate_and_time_left() -> None:
    rate = Rate()
    assert plain_line("downloading m", 0, 5_000_000_000, rate) == "downloading m: 0 % of 5.0 GB"
    rate.moved(0.0, 1_000_000_000)
    rate.moved(10.0, 1_100_000_000)
    expected = "downloading m: 22 % of 5.0 GB, 10.0 MB/s, 6 min left"
    assert plain_line("downloading m", 1_100_000_000, 5_000_000_000, rate) == expected
