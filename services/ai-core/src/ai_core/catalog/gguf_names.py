"""What the names of GGUF files tell: which quantization, and which part of how many. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

_QUANTIZATION = re.compile(
    r"(?<![A-Za-z0-9])"
    r"((?:UD-)?(?:I?Q|TQ)\d(?:_[A-Za-z0-9]+)*|BF16|F16|FP16|F32|FP32|MXFP4(?:_MOE)?|NVFP4)"
    r"(?![A-Za-z0-9])",
    re.IGNORECASE,
)
_PART = re.compile(r"^(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf$", re.IGNORECASE)
_BESIDE_A_MODEL = ("mmproj", "imatrix")
"""Files in GGUF that are no language models: image projectors, statistics for quantizing."""
FULL_PRECISION = frozenset({"F32", "F16", "BF16"})


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a model that was split: ``stem-00002-of-00003.gguf`` is part 2 of 3."""

    stem: str
    number: int
    count: int


def part_of(name: str) -> Part | None:
    """Which part of a split model a file is; None: it is whole."""
    found = _PART.match(name)
    return None if found is None else Part(found["stem"], int(found["number"]), int(found["count"]))


def is_model(name: str) -> bool:
    """Whether a file in a repository is (a part of) a language model in GGUF."""
    base = PurePosixPath(name).name.lower()
    return base.endswith(".gguf") and not any(word in base for word in _BESIDE_A_MODEL)


def quantization_of(name: str) -> str:
    """``Q4_K_M`` for ``some-model.q4_k_m.gguf`` and for ``Q4_K_M/model-00001-of-00002.gguf``; empty: the name
    does not tell."""
    path = PurePosixPath(name)
    for part in reversed(path.parts):
        found = _QUANTIZATION.findall(part.removesuffix(".gguf"))
        if found:
            label: str = found[-1].upper()
            return label.replace("FP16", "F16").replace("FP32", "F32")
    return ""


def preferred_quantization(quantization: str) -> str:
    """The GGUF quantization that an entry of the models file prefers: its ``quantization`` may also be
    ``none``, ``int8`` or ``4bit``, which say how other formats are loaded. Empty: no preference."""
    found = _QUANTIZATION.fullmatch(quantization)
    return "" if found is None else quantization_of(quantization)
