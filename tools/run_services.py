"""Runs all services that have what they need: the AI core, and the channels whose credentials are set.

    .venv/bin/python tools/run_services.py

`make run` calls it after the set-up. Ctrl-C or SIGTERM ends everything, channels first.
"""

from __future__ import annotations

import asyncio
import os
import sys

from house.plan import plan
from house.supervisor import UNUSABLE, Supervisor, say
from servicekit.settings import SettingsError
from servicekit.storage.secret_file import SecretFileError


def main() -> int:
    """Returns the exit status."""
    try:
        house = plan(os.environ)
    except SettingsError as error:
        for line in error.lines:
            say(line)
        return UNUSABLE
    except SecretFileError as error:
        say(f"SECRET_KEY is missing, and {error}")
        return UNUSABLE
    for line in ("Code du Travail Neo", *house.lines, ""):
        say(line)
    return asyncio.run(Supervisor(house).run())


if __name__ == "__main__":
    sys.exit(main())
