"""LoRA layers in a model, through PEFT. Its import takes seconds: only who uses an adapter imports this."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from transformers import PreTrainedModel


def put_in(
    model: PreTrainedModel, key: str, folder: Path, weights: dict[str, torch.Tensor], scale: float
) -> None:
    """Add an adapter's layers to a model; :func:`switch` has to follow.

    Args:
        key: the adapter's name in PEFT, without dots.
        folder: with its configuration.
        scale: multiplies what the adapter adds.

    Raises:
        Exception: PEFT does not take it, for whatever reason; :func:`take_out` has to follow.
    """
    config = LoraConfig.from_pretrained(str(folder))
    config.inference_mode = True
    # The weights come from the file: other ways of beginning would compute for nothing.
    config.init_lora_weights = True
    with warnings.catch_warnings():
        # Of further adapters beside the first: they are meant.
        warnings.filterwarnings("ignore", "Already found a `peft_config`", UserWarning)
        inject_adapter_in_model(config, model, key)
    result: Any = set_peft_model_state_dict(model, weights, key)
    if result.unexpected_keys:
        raise ValueError(f"it has no place for {str(result.unexpected_keys[0])[:120]}")
    for layer in _layers(model):
        if key in layer.scaling:
            layer.scaling[key] *= scale


def take_out(model: PreTrainedModel, key: str) -> None:
    """Forget an adapter; unknown ones are ignored."""
    for layer in _layers(model):
        layer.delete_adapter(key)


def switch(model: PreTrainedModel, key: str) -> None:
    """Compute with this adapter; empty: with none."""
    for layer in _layers(model):
        layer.enable_adapters(enabled=bool(key))
        if key:
            layer.set_adapter(key, inference_mode=True)
    # New layers begin in training mode, with dropout.
    model.train(mode=False)


def _layers(model: PreTrainedModel) -> list[LoraLayer]:
    return [module for module in model.modules() if isinstance(module, LoraLayer)]
