"""One engine and one installation for all tests of the suite in containers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.deploy.docker_engine import ROOT, DockerEngine
from tests.deploy.suite import post_office, telephone
from tests.deploy.suite.installation import Installation, clone, settings
from tests.deploy.suite.post_office import PostOffice, write_accounts
from tests.deploy.suite.program import Program
from tests.deploy.suite.telephone import Telephone

CHANNELS = ("telegram", "mail", "mailserver")
EVERYTHING = (*CHANNELS, "monitoring", "scanning")
NEED_EVERYTHING = {"monitoring.py", "scanning.py", "kills.py", "keeping.py"}


@pytest.fixture(scope="session")
def profiles(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """What has to run for the tests that were asked for."""
    asked = {item.path.name for item in request.session.items}
    return EVERYTHING if asked & NEED_EVERYTHING else CHANNELS


@pytest.fixture(scope="session")
def engine() -> Iterator[DockerEngine]:
    """With its data in NEO_DOCKER_DIR, where images stay."""
    engine = DockerEngine(Path(os.environ.get("NEO_DOCKER_DIR", ROOT / "var" / "docker")).resolve())
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture(scope="session")
def installed(
    engine: DockerEngine, profiles: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> Installation:
    """Images, settings and certificates, before `make up`."""
    installation = Installation(engine, tmp_path_factory.mktemp("site"))
    clone(installation.folder)
    scanners = post_office.SCANNERS if "scanning" in profiles else {}
    installation.configure(settings(profiles) | telephone.SETTINGS | post_office.SETTINGS | scanners)
    write_accounts(installation.folder)
    engine.make_python_image()
    with ThreadPoolExecutor() as pool:
        others: list[Future[Any]] = [pool.submit(engine.make_servers)]
        if profiles == EVERYTHING:
            others.append(pool.submit(engine.make_the_rest))
        for services in (("ai-core",), ("telegram", "mail")):
            command = ("deploy/compose.sh", "build", "--quiet", *services)
            others.append(pool.submit(installation.script, *command))
        for other in others:
            other.result()
    return installation


@pytest.fixture(scope="session")
def trusted(installed: Installation) -> Path:
    """The certificates of the suite's domains."""
    return installed.folder / "trusted.pem"


@pytest.fixture(scope="session")
def people(trusted: Path) -> Iterator[Telephone]:
    """Telegram, with nobody there yet."""
    telephone = Telephone(trusted)
    yield telephone
    telephone.close()


@pytest.fixture(scope="session")
def suite(installed: Installation, people: Telephone) -> Iterator[Installation]:
    """After `make up`."""
    # What a run that was ended left in a kept engine has other passwords.
    installed.down()
    try:
        print(installed.up())
        yield installed
    finally:
        print(installed.engine.try_docker("ps", "-a", "--format", "{{.Names}} {{.Status}}").stdout)
        installed.down()


@pytest.fixture(scope="session")
def post(suite: Installation, trusted: Path) -> PostOffice:
    """Other people's mail servers and programs."""
    return PostOffice(trusted)


@pytest.fixture(scope="session")
def program(suite: Installation, trusted: Path) -> Iterator[Program]:
    """A program with a key, made as `make up` says at its end."""
    command = ("exec", "-T", "ai-core", "ai-core", "keys", "create", "--name", "tests")
    key = suite.script("deploy/compose.sh", *command, "--requests-per-minute", "0").strip()
    program = Program(trusted, key)
    yield program
    program.close()
