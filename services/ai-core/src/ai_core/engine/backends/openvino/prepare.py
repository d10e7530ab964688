"""``python -m ai_core.engine.backends.openvino.prepare SOURCE FOLDER [adapters]``: the graph and the weights
of a model (a GGUF file, or a folder in OpenVINO's form) become ``FOLDER/openvino_model.xml`` and ``.bin``,
prepared for our backend, with a place for adapters if told so. ``linears.json`` beside them says what can be
adapted: a list of names, with what goes in and comes out.

A process of its own, because reading a GGUF file takes three times its size for a moment.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import openvino as ov
import openvino_genai as genai

from ai_core.engine.backends.openvino.graph import UnknownGraph, prepare
from ai_core.engine.backends.openvino.linears import linears, shape_of
from ai_core.engine.backends.openvino.steering import Steering

MODEL_FILE = "openvino_model.xml"
LINEARS_FILE = "linears.json"
CANNOT = 3
"""Exit status: the model is none that we can serve; why stands on the standard output."""
_NO_DEVICE = "NONE"
"""A device that does not exist: the pipeline reads a GGUF file, keeps its graph, and stops before it would
compile it for nothing."""


def main(arguments: list[str]) -> int:
    source, folder = Path(arguments[0]).resolve(), Path(arguments[1])
    try:
        with tempfile.TemporaryDirectory(dir=folder) as between:
            read_from = source if source.is_dir() else _from_gguf(source, Path(between))
            core = ov.Core()
            core.add_extension(Steering)
            model = core.read_model(read_from / MODEL_FILE)
            shapes = {name: shape_of(node) for name, node in linears(model).items()}
            names = prepare(model, adapters=arguments[2:] == ["adapters"])
            described = [[name, *shapes[name]] for name in names]
            (folder / LINEARS_FILE).write_text(json.dumps(described))
            ov.save_model(model, folder / MODEL_FILE, compress_to_fp16=False)
            # The weights are mapped from the first files until here.
            del model
    except (UnknownGraph, RuntimeError) as error:
        sys.stdout.write(" ".join(str(error).split())[:500])
        return CANNOT
    return 0


def _from_gguf(source: Path, folder: Path) -> Path:
    """The folder with the file's graph and weights. Raises RuntimeError."""
    link = folder / "model.gguf"
    if os.access(source, os.W_OK):
        link.symlink_to(source)
    else:
        # OpenVINO opens it for writing, too, though it writes nothing; what it may not write, it cannot read.
        shutil.copyfile(source, link)
    config = genai.SchedulerConfig()
    config.num_kv_blocks = 1
    try:
        genai.ContinuousBatchingPipeline(link, config, _NO_DEVICE, {"enable_save_ov_model": True})
    except RuntimeError:
        if not (folder / MODEL_FILE).is_file():
            raise
    return folder


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
