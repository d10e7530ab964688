"""The database's schema, step by step."""

from __future__ import annotations

from pathlib import Path

from mail_service.storage.tables import metadata
from servicekit.storage.migrating import Schema

SCHEMA = Schema(metadata, versions=Path(__file__).parent / "versions", lock_number=0x6E656F02)
