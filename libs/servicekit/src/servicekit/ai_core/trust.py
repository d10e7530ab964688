"""Whose word counts for an AI core behind TLS: the public authorities, and those that the operator names."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Annotated

import httpx
from pydantic import AfterValidator


def trust(ca_file: Path | None = None) -> ssl.SSLContext:
    """For clients. ``ca_file`` holds certificates (PEM) that count besides the public authorities.

    Raises:
        OSError: it cannot be read, or holds no certificates.
    """
    context = httpx.create_ssl_context(trust_env=False)
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


def _with_certificates(path: Path) -> Path:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError as error:
        raise ValueError("expected a file that holds certificates (PEM)") from error
    return path


CertificateFile = Annotated[Path, AfterValidator(_with_certificates)]
"""A setting. That the file can be used is known when settings are read, not with the first question."""
