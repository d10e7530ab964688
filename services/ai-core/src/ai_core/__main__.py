"""The ``ai-core`` command: which of its commands runs, and with what."""

from __future__ import annotations

import argparse
import os
import sys
from importlib.metadata import version

from ai_core.cli import chat, database, keys, serve
from ai_core.cli.models import commands as models
from ai_core.cli.terminal import ENV_FILE, local_url
from ai_core.config import Settings
from servicekit.settings import SettingsError


def main() -> None:
    """Entry point of the ``ai-core`` script."""
    sys.exit(command(sys.argv[1:]))


def command(arguments: list[str]) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    if options.command == "chat":
        return chat.run(chat.Options(options.url, options.model, options.system, _key()), os.environ)
    if options.command == "keys":
        return keys.run(options)
    if options.command == "database":
        return database.run(options)
    if options.command == "models":
        return models.run(options)
    return serve.run()


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
    keys.add_commands(commands)
    models.add_commands(commands)
    database.add_commands(commands)
    return parser


def _settings() -> Settings:
    """The settings as `ai-core serve` would read them; the defaults where they are wrong."""
    try:
        return Settings.load(os.environ, ENV_FILE)
    except SettingsError:
        return Settings.load({})


def _default_url() -> str:
    """Where `ai-core serve` listens with the same settings."""
    settings = _settings()
    return local_url(settings.api_host, settings.api_port)


def _key() -> str | None:
    """NEO_API_KEY, or what NEO_API_KEY_FILE or the first start has kept."""
    return chat.key_from(os.environ, _settings().local_key_path)


if __name__ == "__main__":
    main()
