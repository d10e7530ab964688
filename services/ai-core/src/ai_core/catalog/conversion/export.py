"""``PYTHON export.py SOURCE FOLDER FORMAT``: a folder of safetensors becomes one in OpenVINO's form.

Run by the converter's own interpreter, which has none of our packages. FORMAT is ``fp16``, ``int8`` or
``int4``: how the weights are stored.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(source: str, folder: str, form: str) -> None:
    """Convert; whatever goes wrong is an exception."""
    # Whoever wanted the model is gone: nobody would use it.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    os.nice(5)
    # Only here: neither is installed where this file is checked and tested.
    from optimum.exporters.openvino import main_export  # noqa: PLC0415
    from optimum.intel import OVConfig, OVWeightQuantizationConfig  # noqa: PLC0415

    if form == "fp16":
        config = OVConfig(dtype="fp16")
    else:
        bits = 8 if form == "int8" else 4
        # In groups of 64, and with scales that are not symmetric: the usual choice for small models.
        shape = {"sym": False, "group_size": 64} if bits == 4 else {"sym": True}
        config = OVConfig(quantization_config=OVWeightQuantizationConfig(bits=bits, **shape))
    main_export(
        model_name_or_path=source,
        output=folder,
        task="text-generation-with-past",
        ov_config=config,
        trust_remote_code=False,
        local_files_only=True,
        convert_tokenizer=False,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
