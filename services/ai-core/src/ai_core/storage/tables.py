"""The tables. A change here needs a migration beside it, in ``migrations/versions``."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
)

from servicekit.storage.types import Moment, Words

# Alembic can only change what has a name.
metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("secret_digest", String(64), nullable=False),
    Column("previous_digest", String(64)),
    Column("previous_valid_until", Moment),
    Column("scopes", Words, nullable=False),
    Column("allowed_models", Words, nullable=False),
    Column("networks", Words, nullable=False),
    Column("default_model", String(200)),
    Column("requests_per_minute", Integer),
    Column("tokens_per_minute", BigInteger),
    Column("tokens_per_day", BigInteger),
    Column("concurrent_requests", Integer),
    Column("priority", SmallInteger, nullable=False),
    Column("fair_by_user", Boolean, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("rotated_at", Moment),
    Column("expires_at", Moment),
    Column("revoked_at", Moment),
)

usage_by_day = Table(
    "usage_by_day",
    metadata,
    # No foreign key: what was used stays written, whatever becomes of the key.
    Column("key_id", String(16), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("cached_prompt_tokens", BigInteger, nullable=False),
    Column("cached_answers", BigInteger, nullable=False),
)

batches = Table(
    "batches",
    metadata,
    Column("id", String(40), primary_key=True),
    # No foreign key: what becomes of a batch whose key is gone is decided by what runs it.
    Column("key_id", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("lines", Integer, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("started_at", Moment),
    Column("finished_at", Moment),
    Index("ix_batches_state_key_id", "state", "key_id"),
    Index("ix_batches_key_id_created_at", "key_id", "created_at"),
)

batch_lines = Table(
    "batch_lines",
    metadata,
    Column("batch_id", String(40), ForeignKey(batches.c.id, ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("state", String(16), nullable=False),
    # Sealed; each is there as long as it is needed.
    Column("request", LargeBinary),
    Column("result", LargeBinary),
    Column("claim", String(32)),
    Column("lease_until", Moment),
    Column("not_before", Moment),
    Index("ix_batch_lines_batch_id_state_number", "batch_id", "state", "number"),
    Index("ix_batch_lines_state_lease_until", "state", "lease_until"),
    Index("ix_batch_lines_claim", "claim"),
)
