"""Which engine computes a model, and why. Pure: a table of rules, read from top to bottom.

What counts is measured (ARCHITECTURE.md): OpenVINO computes many sequences at once faster than llama.cpp
with ggml's kernels; with kernels of our own (AVX-512 VNNI, Q8_0) llama.cpp is as fast, and one stream alone
is always faster there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ai_core.catalog.facts import FileFacts
from ai_core.catalog.models import EngineChoice, ModelEntry

OPENVINO_SHAPES = frozenset({"llama", "qwen2", "qwen3"})
"""Of GGUF files, by ``general.architecture``: what OpenVINO GenAI's reader builds."""
OPENVINO_QUANTIZATIONS = frozenset({"Q4_0", "Q8_0", "F16"})
"""Of all matrices of a file."""
OPENVINO_TOKENIZERS = frozenset(
    f"gpt2/{cut}" for cut in ("qwen2", "llama-bpe", "llama3", "llama-v3", "gpt-2")
)
"""Of GGUF files: byte-level BPE that cuts words in a way that is known exactly."""
OUR_QUANTIZATIONS = frozenset({"Q8_0"})
"""For which our own kernels multiply (``services/ai-core/native``)."""
BACKENDS: dict[str, str] = {
    "llama.cpp": "llama_cpp",
    "openvino": "openvino",
    "transformers": "transformers",
    "onnxruntime": "onnxruntime",
    "remote": "remote",
    "scripted": "scripted",
}
"""``EngineConfig.backend`` by the names of the models file; ``remote`` has no engine process, and
``scripted`` is for measuring the edge."""
_CPU_DEVICES = frozenset({"auto", "cpu"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What there is to compute with."""

    llama_cpp: bool = True
    openvino: bool = False
    transformers: bool = False
    onnxruntime: bool = False
    converter: bool = False
    """Safetensors can be converted for OpenVINO here."""
    own_kernels: bool = False
    """llama.cpp computes with kernels of our own: the processor has AVX-512 VNNI, and nobody switched
    them off."""


@dataclass(frozen=True, slots=True)
class EngineDecision:
    """``engine`` by its name in the models file; ``reason`` is a sentence for the operator."""

    engine: str
    reason: str

    @property
    def backend(self) -> str:
        """As in ``EngineConfig.backend``; ``remote`` where there is no engine process."""
        return BACKENDS[self.engine]


@dataclass(frozen=True, slots=True)
class _Case:
    entry: ModelEntry
    facts: FileFacts
    machine: Machine
    sequences: int


_Rule = tuple[Callable[[_Case], bool], EngineChoice, str]


def choose_engine(
    entry: ModelEntry, facts: FileFacts, machine: Machine, max_sequences: int
) -> EngineDecision:
    """The engine for a model.

    Args:
        facts: what its files say; empty ones where they are not here yet.
        max_sequences: how many answers are computed side by side, 1 or more.
    """
    if entry.type == "remote":
        return EngineDecision("remote", "The model is on another server.")
    if entry.engine != "auto":
        return EngineDecision(entry.engine, "The models file says so.")
    case = _Case(entry, facts, machine, max_sequences)
    rules = {"gguf": _GGUF, "transformers": _SAFETENSORS, "onnx": _ONNX}[entry.type]
    _, engine, reason = next(rule for rule in rules if rule[0](case))
    return EngineDecision(engine, _sentence(reason, case))


def _sentence(reason: str, case: _Case) -> str:
    return reason.format(
        shape=case.facts.architecture or "unknown",
        quantization=case.facts.quantization or "unknown",
        foreign=", ".join(sorted(case.facts.matrices - OPENVINO_QUANTIZATIONS)) or "an unknown form",
        peculiarity=case.facts.peculiarity,
        device=case.entry.device,
    )


def _unread(case: _Case) -> bool:
    return case.facts.form == "unknown"


def _not_on_cpu(case: _Case) -> bool:
    return case.entry.device.lower() not in _CPU_DEVICES


def _no_openvino(case: _Case) -> bool:
    return not case.machine.openvino


def _no_llama_cpp(case: _Case) -> bool:
    return not case.machine.llama_cpp


def _foreign_shape(case: _Case) -> bool:
    return case.facts.architecture not in OPENVINO_SHAPES


def _foreign_quantization(case: _Case) -> bool:
    # Without general.file_type, OpenVINO's reader gives up.
    known = case.facts.has_file_type and bool(case.facts.matrices)
    return not known or not case.facts.matrices <= OPENVINO_QUANTIZATIONS


def _foreign_tokenizer(case: _Case) -> bool:
    return case.facts.tokenizer not in OPENVINO_TOKENIZERS


def _peculiar(case: _Case) -> bool:
    return bool(case.facts.peculiarity)


def _embeds(case: _Case) -> bool:
    kind = case.entry.kind
    return kind == "embedding" or (kind == "auto" and case.facts.embedding)


def _has_gguf_adapters(case: _Case) -> bool:
    return any(adapter.path.suffix.lower() == ".gguf" for adapter in case.entry.adapters)


def _one_sequence(case: _Case) -> bool:
    return case.sequences == 1


def _own_kernels(case: _Case) -> bool:
    return case.machine.own_kernels and case.facts.quantization in OUR_QUANTIZATIONS


def _converted(case: _Case) -> bool:
    return case.facts.form == "openvino"


def _cannot_convert(case: _Case) -> bool:
    return not case.machine.converter


def _always(_case: _Case) -> bool:
    return True


_GGUF: tuple[_Rule, ...] = (
    (_embeds, "llama.cpp", "Vectors are made by llama.cpp."),
    (_unread, "llama.cpp", "llama.cpp takes every GGUF file; more is known when the file is here."),
    (_foreign_shape, "llama.cpp", "OpenVINO does not know models of the shape '{shape}'."),
    (_foreign_quantization, "llama.cpp", "OpenVINO does not read GGUF files with weights in {foreign}."),
    (_peculiar, "llama.cpp", "The model {peculiarity}, which OpenVINO's reader does not know."),
    (_foreign_tokenizer, "llama.cpp", "The model cuts texts in a way that is exact with llama.cpp only."),
    (_has_gguf_adapters, "llama.cpp", "The model has LoRA adapters in GGUF, which OpenVINO does not read."),
    (_not_on_cpu, "llama.cpp", "OpenVINO's strength is the CPU, and the models file says '{device}'."),
    (_no_openvino, "llama.cpp", "OpenVINO is not installed here; `make openvino` installs it."),
    (_no_llama_cpp, "openvino", "llama.cpp is not installed here; `make llama` builds it."),
    (_one_sequence, "llama.cpp", "One answer at a time is computed faster by llama.cpp."),
    (_own_kernels, "llama.cpp", "This processor runs our own kernels for {quantization} in llama.cpp."),
    (_always, "openvino", "OpenVINO computes several answers at once faster on this processor."),
)
_SAFETENSORS: tuple[_Rule, ...] = (
    (_converted, "openvino", "The model is in OpenVINO's form."),
    (_not_on_cpu, "transformers", "OpenVINO's strength is the CPU, and the models file says '{device}'."),
    (
        lambda case: case.entry.trust_remote_code,
        "transformers",
        "The model brings code of its own, which transformers runs.",
    ),
    (_no_openvino, "transformers", "OpenVINO is not installed here; `make openvino` installs it."),
    (_cannot_convert, "transformers", "Nothing converts models here; `make converter` installs what does."),
    (_always, "openvino", "Converted once, the model answers many at a time with OpenVINO."),
)
_ONNX: tuple[_Rule, ...] = ((_always, "onnxruntime", "ONNX models are computed by onnxruntime-genai."),)
