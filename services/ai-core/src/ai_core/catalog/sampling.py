"""The ranges of sampling parameters: what requests may ask for, and what the models file may set for
requests that leave a field out."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Temperature = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]
TopP = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
TopK = Annotated[int, Field(ge=0, le=100_000)]
MinP = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Penalty = Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False)]
RepeatPenalty = Annotated[float, Field(gt=0, le=2, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
MaxTokens = Annotated[int, Field(ge=1, le=1_000_000)]


class SamplingDefaults(BaseModel):
    """What counts for a model where a request says nothing."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    temperature: Temperature | None = None
    top_p: TopP | None = None
    top_k: TopK | None = None
    min_p: MinP | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repeat_penalty: RepeatPenalty | None = None
    seed: Seed | None = None
    max_tokens: MaxTokens | None = None
