import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from workspace_setup import commands
from workspace_setup.errors import SetupError

TOOLS = Path(commands.__file__).parent.parent


def test_output_goes_to_the_log_and_to_the_listener(tmp_path: Path) -> None:
    heard: list[str] = []
    commands.run(["sh", "-c", "echo one; echo two >&2"], tmp_path / "log", "failed", on_line=heard.append)
    assert heard == ["one\n", "two\n"]
    assert (tmp_path / "log").read_text().endswith("one\ntwo\n")


def test_a_failure_shows_the_end_of_the_log_and_the_sentence(tmp_path: Path) -> None:
    with pytest.raises(SetupError) as caught:
        commands.run(["sh", "-c", "seq 100; exit 3"], tmp_path / "log", "It failed.")
    lines = str(caught.value).splitlines()
    assert lines[0] == "  | 81"
    assert lines[-1] == "It failed."


def test_a_command_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no-such-command cannot be started"):
        commands.run(["no-such-command"], tmp_path / "log", "It failed.")


def test_an_interruption_ends_the_whole_tree(tmp_path: Path) -> None:
    code = (
        "import pathlib\nfrom workspace_setup import commands\n"
        f"commands.run(['sh', '-c', 'sleep 60 & echo $!; wait'], pathlib.Path({str(tmp_path / 'log')!r}), '')"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=TOOLS, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not (sleeping := _descendants(process.pid, "sleep")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(20) != 0
    assert sleeping
    psutil.wait_procs(sleeping, timeout=10)
    assert not any(child.is_running() for child in sleeping)


def _descendants(pid: int, name: str) -> list[psutil.Process]:
    return [child for child in psutil.Process(pid).children(recursive=True) if child.name() == name]
