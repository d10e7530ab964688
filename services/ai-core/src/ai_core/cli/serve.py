"""``ai-core serve``: the API, until a signal ends it."""

from __future__ import annotations

import os
import socket
import sys
from importlib.metadata import version
from ipaddress import ip_address

import uvloop

from ai_core import app
from ai_core.access.local_key import LocalKeyError
from ai_core.api.server import ListenError, allow_many_connections, listen
from ai_core.catalog.models import Catalog, CatalogError, ModelEntry
from ai_core.catalog.places import opened_path
from ai_core.cli.terminal import ENV_FILE, complain, local_url
from ai_core.config import Settings
from ai_core.errors import StorageUnavailable
from ai_core.inference.content_filter.current import ContentFilter, ContentFilterError
from ai_core.model_wiring import catalog_of
from servicekit import logging
from servicekit.settings import SettingsError
from servicekit.storage.database import DatabaseAddressError


def run() -> int:
    """Serve until a signal; 2 when the settings do not allow it."""
    try:
        settings = Settings.load(os.environ, ENV_FILE)
        catalog = catalog_of(settings)
        content_filter = app.content_filter_of(settings)
        listener = listen(settings.api_host, settings.api_port)
    except (SettingsError, ContentFilterError) as error:
        return complain(*error.lines)
    except (CatalogError, ListenError) as error:
        return complain(str(error))
    logging.configure(settings.effective_log_level, settings.log_format)
    with listener:
        return _serve(settings, catalog, listener, content_filter)


def _serve(
    settings: Settings, catalog: Catalog, listener: socket.socket, content_filter: ContentFilter | None
) -> int:
    host, port = listener.getsockname()[:2]
    try:
        new_key = uvloop.run(app.prepare_keys(settings, loopback=ip_address(host).is_loopback))
    except (DatabaseAddressError, LocalKeyError, app.NoKeysError) as error:
        return complain(str(error))
    except StorageUnavailable:
        return complain(
            "The database cannot be used: check DATABASE_URL, DB_USER and DB_PASSWORD, and that it runs."
        )
    allow_many_connections()
    print(welcome(settings, catalog, host, port, new_key), file=sys.stderr, flush=True)
    uvloop.run(app.run(settings, catalog, listener, content_filter))
    return 0


def welcome(settings: Settings, catalog: Catalog, host: str, port: int, new_key: str | None = None) -> str:
    """What is on, what is off, and a first request to copy."""
    url = local_url(host, port)
    reach = "this machine only" if ip_address(host).is_loopback else "open to the network"
    key = f"$(cat {settings.local_key_path})" if settings.local_key_path.exists() else "YOUR_KEY"
    lines = [
        f"Code du Travail Neo, AI core {version('ai-core')}",
        f"  on   API                {url}  ({reach}, with keys)",
        *(_model(settings, entry, default=entry is catalog.default) for entry in catalog.entries),
        f"  on   metrics            {url}/api/v1/metrics",
        _switch("speech to text", settings.transcription_url, "TRANSCRIPTION_URL"),
        _switch("content filter", settings.content_filter_path, "CONTENT_FILTER_PATH"),
        *_about(settings, new_key),
        "",
        "Try:",
        f"  curl {url}/api/v1/chat -H 'Content-Type: application/json' \\",
        f"""    -H "{settings.api_key_header}: {key}" -d '{{"prompt": "Bonjour !"}}'""",
        f"  ai-core chat{'' if port == 8000 else f' --url {url}'}",
        "",
    ]
    return "\n".join(lines)


def _model(settings: Settings, entry: ModelEntry, *, default: bool) -> str:
    """A model whose files are missing is off: the others are served without it."""
    needs_files = entry.type != "remote" and settings.engine_backend != "scripted"
    here = not needs_files or opened_path(entry) is not None
    what = f"{entry.name}{'  (default)' if default else ''}"
    if here:
        return f"  on   model              {what}"
    todo = f"ai-core models pull {entry.name}" if entry.hub else f"put its files at {entry.path}"
    return f"  off  model              {what}  (not fetched: {todo})"


def _about(settings: Settings, new_key: str | None) -> list[str]:
    if new_key is None:
        return []
    return [f"  new  your key           {new_key}  (shown this once; kept in {settings.local_key_path})"]


def _switch(name: str, value: object, setting: str) -> str:
    return f"  off  {name:<18} (set {setting})" if value is None else f"  on   {name:<18} {value}"
