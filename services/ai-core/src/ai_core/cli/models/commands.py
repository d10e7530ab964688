"""The command ``models`` and those below it: which of them runs, and with what."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal

from ai_core.catalog.models import Catalog, CatalogError
from ai_core.cli import chat
from ai_core.cli.models import listing, pulling, quantizing, removing, verifying
from ai_core.cli.models.server import RunningServer
from ai_core.cli.models.workplace import Workplace
from ai_core.cli.terminal import ENV_FILE, complain, local_url
from ai_core.config import Settings
from ai_core.errors import NeoError
from ai_core.model_wiring import catalog_of
from servicekit.settings import SettingsError

EXIT_REFUSED = 1
EXIT_INTERRUPTED = 130


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command ``models`` and those below it."""
    models = commands.add_parser("models", help="fetch, list, check, remove and quantize models")
    actions = models.add_subparsers(dest="action", required=True, metavar="ACTION")
    pulling.add_command(actions)
    _add_url(actions.add_parser("list", help="all models: size, format, engine, memory"))
    verify = actions.add_parser("verify", help="compare models with the checksums that they came with")
    verify.add_argument("name", nargs="*", help="which models [all]")
    remove = actions.add_parser("remove", help="delete the files of a model that was fetched or quantized")
    remove.add_argument("name")
    remove.add_argument("--yes", action="store_true", help="do not ask")
    remove.add_argument("--unload", action="store_true", help="put it out of memory first")
    _add_url(remove)
    quantize = actions.add_parser("quantize", help="make a smaller model of a GGUF model")
    quantize.add_argument("name")
    quantize.add_argument("type", help="such as Q8_0, Q4_K_M or Q4_0")
    _add_url(quantize)


def _add_url(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", help="where the running server is, if there is one [as the settings say]")


def run(options: argparse.Namespace) -> int:
    """Run one action. Returns 0, 1 if it failed or was refused, 2 if the settings do not allow it."""
    try:
        settings = Settings.load(os.environ, ENV_FILE)
        place = _workplace(settings, options)
        return asyncio.run(_action(place, options))
    except SettingsError as error:
        return complain(*error.lines)
    except CatalogError as error:
        return complain(str(error))
    except NeoError as error:
        return complain(error.message, status=EXIT_REFUSED)
    except (KeyboardInterrupt, asyncio.CancelledError):
        return complain("Stopped. What has come is kept.", status=EXIT_INTERRUPTED)


def _workplace(settings: Settings, options: argparse.Namespace) -> Workplace:
    url = getattr(options, "url", None) or local_url(settings.api_host, settings.api_port)
    key = chat.key_from(os.environ, settings.local_key_path)
    server = RunningServer(url, key)
    return Workplace(settings, _catalog(settings, options), server)


def _catalog(settings: Settings, options: argparse.Namespace) -> Catalog | None:
    """The models of this server. A pull of a repository needs none: it may be what makes a first one."""
    try:
        return catalog_of(settings)
    except CatalogError:
        if options.action == "pull" and "/" in options.name:
            return None
        raise


async def _action(place: Workplace, options: argparse.Namespace) -> int:
    # As Ctrl-C does: the process that works for us ends before we do.
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    match options.action:
        case "pull":
            return await pulling.run(place, options)
        case "verify":
            return verifying.run(place, options.name)
        case "remove":
            return await removing.run(place, options)
        case "quantize":
            return await quantizing.run(place, options)
        case _:
            return await listing.run(place)
