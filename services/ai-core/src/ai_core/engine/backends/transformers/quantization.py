"""Weights that are quantized while they are loaded, by bitsandbytes."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from transformers import BitsAndBytesConfig

from ai_core.engine.backends.loading import CannotLoad

if TYPE_CHECKING:
    import torch


def quantization_config(wanted: str, dtype: torch.dtype) -> BitsAndBytesConfig | None:
    """What transformers is told; None: nothing is quantized.

    Args:
        wanted: ``none``, ``int8`` or ``4bit`` (NF4).
        dtype: what is computed in.

    Raises:
        CannotLoad: no such quantization, or no bitsandbytes.
    """
    config: Any = BitsAndBytesConfig
    match wanted:
        case "none":
            return None
        case "int8" | "4bit" if find_spec("bitsandbytes") is None:
            raise CannotLoad(
                f"the quantization '{wanted}' needs bitsandbytes, which is not installed: "
                "`make transformers` installs it where there is a build for this platform"
            )
        case "int8":
            found: BitsAndBytesConfig = config(load_in_8bit=True)
        case "4bit":
            found = config(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
        case _:
            raise CannotLoad(f"the quantization '{wanted[:40]}' is none of none, int8, 4bit")
    return found
