"""The real servers, for every test of the AI core."""

from servers import (
    _postgres_cluster,
    _redis,
    postgres_server,
    postgres_url,
    redis_server,
    redis_url,
)

__all__ = ["_postgres_cluster", "_redis", "postgres_server", "postgres_url", "redis_server", "redis_url"]
