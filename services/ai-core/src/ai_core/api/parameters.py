"""The parameters that all routes share, with their ranges; and OpenAI's that have no effect here."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from ai_core.api.json_body import JsonObject
from ai_core.api.output_forms import GbnfText, ResponseFormat, output_grammar
from ai_core.api.residency_requests import KeepAlive
from ai_core.catalog.sampling import (
    MinP,
    Penalty,
    RepeatPenalty,
    SamplingDefaults,
    Seed,
    Temperature,
    TopK,
    TopP,
)
from ai_core.engine.messages import Grammar, Sampling
from ai_core.inference.requests import CachePolicy

MAX_STOPS = 16
MAX_LOGIT_BIAS = 1_024
MAX_TOKEN_ID = 2**31 - 1
MAX_CHOICES = 8
MAX_TOP_LOGPROBS = 20


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _bias_by_token(value: dict[str, float]) -> dict[str, float]:
    for token in value:
        if not (token.isascii() and token.isdecimal() and len(token) <= 10 and int(token) <= MAX_TOKEN_ID):
            raise PydanticCustomError("token_id", "Object should have token ids as names")
    return value


def _few(value: Any) -> Any:
    if isinstance(value, dict) and len(value) > MAX_LOGIT_BIAS:
        raise PydanticCustomError("too_many_keys", "Object should have at most 1024 entries")
    return value


StopString = Annotated[str, Field(min_length=1, max_length=256)]
_STOP_SCHEMA = {"type": "string", "minLength": 1, "maxLength": 256}
Stop = Annotated[
    list[StopString],
    Field(max_length=MAX_STOPS),
    BeforeValidator(_as_list),
    WithJsonSchema(
        {"anyOf": [_STOP_SCHEMA, {"type": "array", "maxItems": MAX_STOPS, "items": _STOP_SCHEMA}]}
    ),
]
Bias = Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]
# The bound on the length stands before the entries: each bad one would cost an error of its own.
LogitBias = Annotated[
    dict[str, Bias],
    AfterValidator(_bias_by_token),
    BeforeValidator(_few),
    WithJsonSchema(
        {
            "type": "object",
            "maxProperties": MAX_LOGIT_BIAS,
            "propertyNames": {"pattern": "^[0-9]{1,9}$"},
            "additionalProperties": {"type": "number", "minimum": -100, "maximum": 100},
        }
    ),
]
ModelName = Annotated[str, Field(min_length=1)]
AdapterName = Annotated[str, Field(min_length=1, max_length=64)]
_SET_BY_MODELS = SamplingDefaults.model_fields.keys() | {"max_completion_tokens"}


class GenerationParameters(JsonObject):
    """How tokens are chosen, and when to stop. ``null`` means the same as leaving a field out."""

    model: ModelName | None = None
    adapter: AdapterName | None = None
    """A LoRA adapter of the model; the model's name with a colon and this behind it means the same."""
    temperature: Temperature | None = None
    top_p: TopP | None = None
    top_k: TopK | None = None
    min_p: MinP | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repeat_penalty: RepeatPenalty | None = None
    seed: Seed | None = None
    logit_bias: LogitBias | None = None
    ignore_eos: bool | None = None
    stop: Stop | None = None
    response_format: ResponseFormat | None = None
    grammar: GbnfText | None = None
    """GBNF, llama.cpp's notation: the answer is a text that its rule ``root`` describes."""
    stream: bool | None = None
    cache: CachePolicy | None = None
    """``auto``: deterministic answers are kept and given again; ``always``: others, too; ``never``."""
    keep_alive: KeepAlive | None = None
    """How long the model stays in memory after this answer."""
    user: Annotated[str, Field(max_length=256)] | None = None

    def given(self) -> frozenset[str]:
        """Of what the models file may set for a model, the fields in which the caller says something."""
        said = {name for name in _SET_BY_MODELS if getattr(self, name, None) is not None}
        if "max_completion_tokens" in said:
            said.add("max_tokens")
        return frozenset(said)

    def output_grammar(self) -> Grammar | None:
        """What the answer has to look like, in the engine's form.

        Raises:
            InvalidRequest: the parameters for it do not go together.
        """
        return output_grammar(self.response_format, self.grammar)

    def sampling(self, temperature: float, top_p: float) -> Sampling:
        """The engine's form. The arguments are what counts where the caller says nothing."""
        return Sampling(
            temperature=temperature if self.temperature is None else self.temperature,
            top_p=top_p if self.top_p is None else self.top_p,
            top_k=self.top_k or 0,
            min_p=self.min_p or 0.0,
            presence_penalty=self.presence_penalty or 0.0,
            frequency_penalty=self.frequency_penalty or 0.0,
            repeat_penalty=1.0 if self.repeat_penalty is None else self.repeat_penalty,
            seed=self.seed,
            logit_bias={int(token): bias for token, bias in (self.logit_bias or {}).items()},
            ignore_eos=bool(self.ignore_eos),
        )


class only:  # noqa: N801 - it reads as a word of the annotation
    """A parameter that we do not have yet: the values that ask for nothing are taken, others refused."""

    def __init__(self, *accepted: Any) -> None:
        self._accepted = accepted

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """What pydantic asks for to check values."""
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> Any:
        """What pydantic asks for to describe them."""
        return {"enum": list(self._accepted)}

    def _checked(self, value: Any) -> Any:
        # 0 == False and 1 == True in Python, but not in JSON.
        if any(value == other and type(value) is type(other) for other in self._accepted):
            return value
        raise PydanticCustomError(
            "not_supported", "Value asks for something that this server does not have yet"
        )
