"""Whether a model that is too large as it is stored fits with fewer bits per weight. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SmallerForm:
    """How weights can be stored."""

    name: str
    """As the models file and the messages call it."""
    bits: float
    """Per weight, scales and the few tensors that stay as they are included."""
    file_type: str
    """In GGUF files that llama.cpp computes."""
    openvino_file_type: str
    """In GGUF files that OpenVINO computes, which reads few types."""


# Bits: measured files of 0.5 to 8 billion parameters.
SMALLER_FORMS = (
    SmallerForm("int8", 8.6, "Q8_0", "Q8_0"),
    # llama.cpp holds Q4_K and Q4_0 twice, in two orders: they would take more memory than Q8_0.
    SmallerForm("4bit", 4.7, "IQ4_XS", "Q4_0"),
)
"""The one that loses least comes first."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A model as it is. Bytes."""

    total: int
    """What it would hold in memory."""
    weights: int
    """Of that."""
    parameters: int


def smaller_form(model: Stored, room: int) -> SmallerForm | None:
    """The form that loses least of those that fit into ``room`` bytes; None: none does, or the model is as
    small as that already."""
    for form in SMALLER_FORMS:
        weights = int(model.parameters * form.bits / 8)
        if 0 < weights < model.weights and model.total - model.weights + weights <= room:
            return form
    return None
