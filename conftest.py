"""For all tests of the workspace: real servers, logs, and how hypothesis behaves."""

from hypothesis import settings

from mail_servers import (
    _dovecot,
    _postfix,
    certificates,
    dovecot,
    postfix,
    trusting,
)
from model_twins import twins
from quiet_logs import logs_of_its_own
from servers import (
    _postgres_cluster,
    _redis,
    postgres_server,
    postgres_url,
    redis_server,
    redis_url,
)

__all__ = [
    "_dovecot",
    "_postfix",
    "_postgres_cluster",
    "_redis",
    "certificates",
    "dovecot",
    "logs_of_its_own",
    "postfix",
    "postgres_server",
    "postgres_url",
    "redis_server",
    "redis_url",
    "trusting",
    "twins",
]

# No deadline per example: on a busy machine it fails tests that are right.
settings.register_profile("workspace", deadline=None, print_blob=True)
settings.load_profile("workspace")
