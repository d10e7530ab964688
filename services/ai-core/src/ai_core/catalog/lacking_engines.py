"""Which engines for GGUF the configured models need: ``python -m ai_core.catalog.lacking_engines``.

The set-up asks this before `make run` starts the server, so that what a model needs is compiled beforehand.
"""

from __future__ import annotations

import os
import sys

from ai_core.config import Settings

NAMES = {"llama_cpp": "llama", "openvino": "openvino"}
"""What `make` calls the engines."""


def main() -> None:
    """Print the engines by the names of `make`, one to a line."""
    name = NAMES.get(Settings.load(os.environ).engine_backend)
    if name:
        sys.stdout.write(f"{name}\n")


if __name__ == "__main__":
    main()
