"""A folder of safetensors, brought into OpenVINO's form by a process of its own when it is first needed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from ai_core.engine.backends.hf_vocabulary import read_json
from ai_core.engine.backends.loading import CannotLoad
from ai_core.engine.backends.openvino.prepare import MODEL_FILE
from ai_core.engine.backends.openvino.prepared import REVISION
from ai_core.engine.messages import EngineConfig

MANIFEST = "converted.json"
"""Written by the conversion beside a model that it has prepared for us."""


def converted(path: Path, config: EngineConfig, on_progress: Callable[[float], None]) -> Path:
    """The folder with the converted model; takes minutes where it must be made.

    Raises:
        CannotLoad: it cannot be converted.
    """
    if not any(path.glob("*.safetensors")):
        raise CannotLoad(f"{path} is no model in OpenVINO's form, and has no safetensors to convert")
    if not config.converter or not config.converted_models:
        raise CannotLoad(f"{path} holds safetensors, and nothing here converts them for OpenVINO")
    command = [*config.converter, str(path), config.converted_models, config.quantization]
    last: dict[str, object] = {}
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            last = json.loads(line)
            share = last.get("share")
            if isinstance(share, float | int):
                on_progress(float(share))
    folder = last.get("folder")
    if isinstance(folder, str) and process.returncode == 0:
        return Path(folder)
    reason = last.get("error") or f"the converter ended with status {process.returncode}"
    raise CannotLoad(f"{path} cannot be served by OpenVINO: {reason}")


def is_prepared(folder: Path) -> bool:
    """Whether the graph in a folder was prepared for our backend when it was converted."""
    prepared = read_json(folder / MANIFEST).get("prepared") if folder.is_dir() else None
    return prepared == REVISION and (folder / MODEL_FILE).is_file()
