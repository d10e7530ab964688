"""Servers for the tests of the whole service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from ai_core_service import Server, Start, running


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One server that many tests share; they leave it as they found it."""
    with running(ADAPTER_FOLDERS="models/neo-demo/adapters") as server:
        yield server


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts servers with settings of a test's own."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(running(**settings))
