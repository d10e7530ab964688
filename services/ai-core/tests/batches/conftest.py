"""A server with batches, over SQLite and over PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from batch_server import BatchServer, batch_server


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest) -> str | None:
    """None: a fresh SQLite file."""
    return None if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
async def echoing(address: str | None) -> AsyncIterator[BatchServer]:
    """Over an engine that says back what it was told."""
    async with batch_server(address, echoes=True) as running:
        yield running


@pytest.fixture
async def silent(address: str | None) -> AsyncIterator[BatchServer]:
    """Over an engine that does nothing of its own accord."""
    async with batch_server(address) as running:
        yield running
