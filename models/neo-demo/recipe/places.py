"""Where the recipe reads and writes."""

from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent
CORPUS = FOLDER / "corpus"
CHAT_TEMPLATE = FOLDER / "recipe" / "chat_template.jinja"
PRODUCT = FOLDER / "neo-demo.gguf"
ADAPTER_FOLDER = FOLDER / "adapters" / "lettre"
ADAPTER_GGUF = FOLDER / "adapters" / "lettre.gguf"
# What the training leaves behind stays out of git.
ARTEFACTS = FOLDER.parent.parent / "var" / "demo-model"
TOKENIZER = ARTEFACTS / "tokenizer.json"
FINGERPRINT = ARTEFACTS / "corpus.sha256"
CHECKPOINT = ARTEFACTS / "checkpoint.pt"
CURVE = ARTEFACTS / "curve.csv"
