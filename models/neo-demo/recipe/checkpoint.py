"""What the training needs to go on after an interruption."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from recipe.model import Decoder, Shape


@dataclass
class Progress:
    """Whole epochs done, and the seconds they took."""

    epochs: int = 0
    seconds: float = 0.0


def save(path: Path, model: Decoder, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    state = {
        "shape": asdict(model.shape),
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "progress": asdict(progress),
    }
    # Replaced in one step: an interruption leaves the old one whole.
    unfinished = path.with_suffix(".part")
    torch.save(state, unfinished)
    unfinished.replace(path)


def load(path: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def load_model(path: Path) -> Decoder:
    state = load(path)
    model = Decoder(Shape(**state["shape"]))
    model.load_state_dict(state["model"])
    return model.eval()


def resume(path: Path, model: Decoder, optimizer: torch.optim.Optimizer) -> Progress:
    """Puts model and optimizer where ``path`` left them; a fresh start where there is none."""
    if not path.exists():
        return Progress()
    state = load(path)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return Progress(**state["progress"])
