"""The ``ai-core`` command."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from importlib.metadata import version
from ipaddress import ip_address
from pathlib import Path

import uvloop

from ai_core import app, chat
from ai_core.api.server import ListenError, allow_many_connections, listen
from ai_core.catalog.models import Catalog, CatalogError
from ai_core.config import Settings
from servicekit import logging
from servicekit.settings import SettingsError

ENV_FILE = Path(".env")
EXIT_SETTINGS = 2


def main() -> None:
    """Entry point of the ``ai-core`` script."""
    sys.exit(command(sys.argv[1:]))


def command(arguments: list[str]) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    if options.command == "chat":
        return chat.run(chat.Options(options.url, options.model, options.system), os.environ)
    return serve()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ai-core", description="Hosts language models behind a REST API.")
    parser.add_argument("--version", action="version", version=f"ai-core {version('ai-core')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser(
        "serve",
        help="serve the API until SIGTERM or Ctrl-C",
        description="Serves the API. Settings come from the environment or .env; the README lists them.",
    )
    talk = commands.add_parser("chat", help="talk to a running server in this terminal")
    talk.add_argument("--url", default=_default_url(), help="where the server is [%(default)s]")
    talk.add_argument("--model", help="which model [the server's default]")
    talk.add_argument("--system", help="what the model is told before the conversation")
    return parser


def _default_url() -> str:
    """Where `ai-core serve` listens with the same settings."""
    try:
        settings = Settings.load(os.environ, ENV_FILE)
    except SettingsError:
        settings = Settings.load({})
    return local_url(settings.api_host, settings.api_port)


def local_url(host: str, port: int) -> str:
    """How a program on this machine reaches a server that listens on ``host``."""
    with contextlib.suppress(ValueError):
        address = ip_address(host)
        if address.is_unspecified:
            host = "127.0.0.1" if address.version == 4 else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve() -> int:
    """Serve until a signal; 2 when the settings do not allow it."""
    try:
        settings = Settings.load(os.environ, ENV_FILE)
        catalog = app.catalog_of(settings)
        listener = listen(settings.api_host, settings.api_port)
    except SettingsError as error:
        return _complain(*error.lines)
    except (CatalogError, ListenError) as error:
        return _complain(str(error))
    logging.configure(settings.effective_log_level, settings.log_format)
    allow_many_connections()
    host, port = listener.getsockname()[:2]
    print(welcome(settings, catalog, host, port), file=sys.stderr, flush=True)
    uvloop.run(app.run(settings, catalog, listener))
    return 0


def _complain(*lines: str) -> int:
    for line in lines:
        print(f"ai-core: {line}", file=sys.stderr)
    return EXIT_SETTINGS


def welcome(settings: Settings, catalog: Catalog, host: str, port: int) -> str:
    """What is on, what is off, and a first request to copy."""
    url = local_url(host, port)
    reach = "this machine only" if ip_address(host).is_loopback else "open to the network, without keys"
    lines = [
        f"Code du Travail Neo, AI core {version('ai-core')}",
        f"  on   API                {url}  ({reach})",
        *(
            f"  on   model              {entry.name}" + ("  (default)" if entry is catalog.default else "")
            for entry in catalog.entries
        ),
        f"  on   metrics            {url}/api/v1/metrics",
        "",
        "Try:",
        f"  curl {url}/api/v1/chat -H 'Content-Type: application/json' -d '{{\"prompt\": \"Bonjour !\"}}'",
        f"  ai-core chat{'' if port == 8000 else f' --url {url}'}",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
