"""What the models file may hold: fields, their forms and ranges. Pure."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from ai_core.catalog.models import EngineChoice, ModelKind, ModelPooling, ModelType
from ai_core.catalog.sampling import SamplingDefaults
from ai_core.quantities import bytes_in, seconds_in

ENGINES: dict[ModelType, tuple[EngineChoice, ...]] = {
    "gguf": ("auto", "llama.cpp", "openvino"),
    "transformers": ("auto", "openvino", "transformers"),
    "onnx": ("auto", "onnxruntime"),
    "remote": ("auto",),
}
"""What can compute each type."""
FORMATS: dict[ModelType, tuple[str, ...]] = {
    "gguf": ("gguf",),
    "transformers": ("safetensor", "safetensors", "openvino"),
    "onnx": ("onnx",),
    "remote": (),
}
_GGUF_QUANTIZATION = re.compile(r"(I?Q[1-8]_[A-Z0-9_]{1,8}|TQ[12]_0|MXFP4|BF16|F16|F32)", re.IGNORECASE)
_LOADED_AS = ("none", "int8", "4bit")
_NOT_FOR_REMOTE = (
    "path",
    "file",
    "revision",
    "adapter",
    "adapters",
    "threads",
    "chat_template",
    "preload",
    "pinned",
    "max_memory",
)


def _one_word(name: str) -> str:
    if not name.isprintable() or " " in name:
        raise ValueError("a model's name is one word of printable characters")
    return name


def _size(value: Any) -> Any:
    return _quantity(value, bytes_in)


def _time(value: Any) -> Any:
    return _quantity(value, seconds_in)


def _quantity(value: Any, read: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return value
    try:
        return read(value)
    except ValueError as error:
        raise PydanticCustomError("quantity", "{sentence}", {"sentence": str(error)}) from None


def _address(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", value):
        raise ValueError("should be an address like http://127.0.0.1:9000/v1, without a password in it")
    return value.rstrip("/")


def _no_way_up(value: str) -> str:
    if ".." in value.split("/"):
        raise ValueError("may not hold '..'")
    return value


Name = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_one_word)]
AdapterName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")]
"""It follows a colon in ``base:adapter``, so it has none."""
Path = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_no_way_up)]


class _Object(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Adapter(_Object):
    """A LoRA adapter; a text alone is its path."""

    path: Path
    scale: Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)] = 1.0


class Upstream(_Object):
    """Where a model of type ``remote`` is."""

    url: Annotated[str, AfterValidator(_address)]
    model: Annotated[str, Field(max_length=256)] = ""
    key_file: Path | None = None
    timeout: Annotated[float, BeforeValidator(_time), Field(gt=0, le=3_600)] = 120.0


def _as_adapter(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


AdapterForm = Annotated[Adapter, BeforeValidator(_as_adapter)]


class Model(_Object):
    """One model; what is left out has the server's default."""

    type: ModelType
    path: Path | None = None
    file: Path | None = None
    revision: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_./-]{0,127}$")] = "main"
    format: Literal["gguf", "safetensor", "safetensors", "openvino", "onnx"] | None = None
    engine: EngineChoice = "auto"
    upstream: Upstream | None = None
    adapter: Path | None = None
    adapters: dict[AdapterName, AdapterForm] = {}
    context_length: Annotated[int, Field(ge=0, le=1_048_576)] = 0
    threads: Annotated[int, Field(ge=0, le=1_024)] = 0
    device: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9:._-]{0,63}$")] = "auto"
    quantization: Annotated[str, Field(min_length=1, max_length=16)] = "none"
    max_memory: Annotated[int, BeforeValidator(_size)] = 0
    max_sequences: Annotated[int, Field(ge=0, le=128)] = 0
    keep_alive: Annotated[float, BeforeValidator(_time)] | None = None
    pinned: bool = False
    preload: bool = False
    weight: Annotated[float, Field(gt=0, le=1_000, allow_inf_nan=False)] = 1.0
    sampling: SamplingDefaults = SamplingDefaults()
    system_prompt: Annotated[str, Field(max_length=100_000)] = ""
    chat_template: Annotated[str, Field(min_length=1, max_length=200_000)] | None = None
    trust_remote_code: bool = False
    aliases: list[Name] = []
    fallback: Name | None = None
    kind: ModelKind = "auto"
    pooling: ModelPooling = "auto"
    matryoshka: bool = False

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        for field, sentence in self._contradictions():
            if sentence:
                raise PydanticCustomError(
                    "contradiction", "{sentence}", {"sentence": sentence, "field": field}
                )
        return self

    def _contradictions(self) -> list[tuple[str, str]]:
        remote = self.type == "remote"
        beside = next((name for name in _NOT_FOR_REMOTE if name in self.model_fields_set), "")
        embedding_only = self.kind == "generation" and (self.pooling != "auto" or self.matryoshka)
        return [
            (
                "path",
                "is missing: a file, a folder, or owner/name on the hub" * (not remote and not self.path),
            ),
            ("upstream", "is missing: a remote model has one" * (remote and self.upstream is None)),
            ("upstream", "is for models of type 'remote'" * (not remote and self.upstream is not None)),
            (beside, "is not for remote models: nothing of them is here" * (remote and bool(beside))),
            ("engine", self._unlike("engine", self.engine, ENGINES[self.type])),
            ("format", self._unlike("format", self.format, FORMATS[self.type]) if self.format else ""),
            ("quantization", self._bad_quantization()),
            (
                "trust_remote_code",
                "is for models of type 'transformers'"
                * (self.trust_remote_code and self.type != "transformers"),
            ),
            (
                "adapter",
                "and 'adapters' mean the same: write one of them"
                * (self.adapter is not None and bool(self.adapters)),
            ),
            ("pooling", "and 'matryoshka' are for embedding models" * embedding_only),
            (
                "kind",
                "embedding models are served as 'gguf', or 'remote'"
                * (self.kind == "embedding" and self.type in {"transformers", "onnx"}),
            ),
        ]

    def _unlike(self, what: str, value: str | None, known: tuple[str, ...]) -> str:
        if value in known:
            return ""
        choices = ", ".join(known) or "left out"
        return f"'{value}' is no {what} for models of type '{self.type}'; it may be {choices}"

    def _bad_quantization(self) -> str:
        if self.quantization in _LOADED_AS and (self.quantization == "none" or self.type != "onnx"):
            return ""
        if self.type == "gguf" and _GGUF_QUANTIZATION.fullmatch(self.quantization):
            return ""
        known = {
            "gguf": "none, int8, 4bit, or the name of a GGUF quantization such as Q4_K_M",
            "transformers": "none, int8 or 4bit",
        }.get(self.type, "none")
        return f"should be {known}"


class ModelsFile(_Object):
    """The whole file."""

    models: dict[Name, Model]
    default_model: str | None = None
