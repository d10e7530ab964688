"""Engines start as direct children, in front of the event loop, with nothing inherited by accident."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from ai_core.engine.messages import EngineConfig
from ai_core.residency.spawn import EngineSpawner, engine_environment

CONFIG = EngineConfig(model_path="m", threads=3)

# Writes what it is into its socket, then waits for the socket's end.
CHILD = """
import json, os, socket, sys
connection = socket.socket(fileno=int(sys.argv[1]))
fds = [fd for fd in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + fd)]
about = {
    "nice": os.getpriority(os.PRIO_PROCESS, 0),
    "parent": os.getppid(),
    "session": os.getsid(0),
    "group": os.getpgrp(),
    "stdin": os.readlink("/proc/self/fd/0"),
    "sockets": sum(os.readlink("/proc/self/fd/" + fd).startswith("socket:") for fd in fds),
    "spin": os.environ.get("GOMP_SPINCOUNT"),
    "threads": json.loads(sys.argv[2])["threads"],
}
connection.sendall(json.dumps(about).encode() + b"\\n")
connection.recv(1)
"""

LOWERED_PARENT = """
import asyncio, json, os, sys, threading
from ai_core.engine.messages import EngineConfig
from ai_core.residency.spawn import EngineSpawner

async def main():
    spawner = EngineSpawner((sys.executable, "-c", sys.argv[1]))
    spawner.lower_own_cpu_weight()
    spawner.lower_own_cpu_weight()
    process = await spawner.start(EngineConfig(model_path=""))
    child = json.loads(await asyncio.get_running_loop().sock_recv(process.connection, 4096))
    process.connection.close()
    await process.exit_status(grace=30)
    spawner.close()
    print(json.dumps([child["nice"], os.getpriority(os.PRIO_PROCESS, threading.get_native_id())]))

asyncio.run(main())
"""


async def about_child(spawner: EngineSpawner) -> dict[str, object]:
    process = await spawner.start(CONFIG)
    with process.connection:
        line = await asyncio.get_running_loop().sock_recv(process.connection, 4096)
    assert await process.exit_status(grace=30) == 0
    about: dict[str, object] = json.loads(line)
    return about


@pytest.fixture
def describing() -> EngineSpawner:
    return EngineSpawner((sys.executable, "-c", CHILD))


async def test_an_engine_is_a_direct_child_in_our_session_with_one_socket(describing: EngineSpawner) -> None:
    about = await about_child(describing)
    describing.close()
    assert about["parent"] == os.getpid()
    assert (about["session"], about["group"]) == (os.getsid(0), os.getpgrp())
    assert about["stdin"] == os.devnull
    assert about["sockets"] == 1
    assert about["threads"] == 3


def test_engines_keep_the_cpu_weight_that_the_event_loop_gives_up() -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    output = subprocess.check_output([sys.executable, "-c", LOWERED_PARENT, CHILD], timeout=60)
    assert json.loads(output) == [own, min(19, own + 10)]


async def test_idle_openmp_threads_spin_briefly_but_do_spin(describing: EngineSpawner) -> None:
    about = await about_child(describing)
    describing.close()
    assert about["spin"] == "1000"
    inherited = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "7", "HOME": "/h"}
    assert engine_environment(inherited) == {"GOMP_SPINCOUNT": "1000", "HOME": "/h"}


async def test_a_program_that_does_not_exist_is_an_error_and_leaves_no_socket() -> None:
    spawner = EngineSpawner(("/nonexistent/engine",))
    before = open_files()
    with pytest.raises(FileNotFoundError):
        await spawner.start(CONFIG)
    assert open_files() == before
    spawner.close()


async def test_a_start_that_nobody_waits_for_any_more_leaves_no_process(describing: EngineSpawner) -> None:
    before, children_before = open_files(), psutil.Process().children()
    starting = asyncio.create_task(describing.start(CONFIG))
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    describing.close()
    assert psutil.Process().children() == children_before
    assert open_files() == before


async def test_an_engine_that_does_not_end_is_killed_after_the_grace_time() -> None:
    spawner = EngineSpawner((sys.executable, "-c", "import time; time.sleep(600)"))
    process = await spawner.start(CONFIG)
    assert await process.exit_status(grace=0.05) == -9
    assert process.was_killed
    process.kill()
    process.connection.close()
    spawner.close()


def open_files() -> set[str]:
    links: set[str] = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            links.add(str(entry.readlink()))
        except FileNotFoundError:
            continue  # The directory's own descriptor.
    return links
