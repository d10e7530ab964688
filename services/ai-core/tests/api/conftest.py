"""Servers for the tests of the edge."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from edge_server import FakeEngine, Server, echo, running_server


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """Over an engine that does nothing of its own accord."""
    async with running_server(FakeEngine()) as running:
        yield running


@pytest.fixture
async def echo_server() -> AsyncIterator[Server]:
    """Over an engine that says back what it was told, at once."""
    async with running_server(FakeEngine(script=echo)) as running:
        yield running
