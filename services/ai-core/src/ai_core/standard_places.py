"""Where models are looked for if the settings say nothing else, from the folder that the service runs in."""

from pathlib import Path

MODELS_FILE = Path("config/models.json")
DEMO_MODEL = Path("models/neo-demo/neo-demo.gguf")
"""Comes with the sources."""
