"""The node of the graph through which we choose tokens.

OpenVINO's sampler is asked for the likeliest token of each row, always. Where something else is wanted (a
draw, a grammar, penalties), this node adds so much to the logit of the token that we chose that it becomes
the likeliest. It runs in the thread that called ``step``, which holds the GIL meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping

import openvino as ov

from ai_core.engine.backends.openvino.nodes import conductor

PUSH = 3e4
"""Added to a logit. Within the range of 16-bit floats, which some processors compute with."""


class Steering(ov.Op):
    """Inputs: logits [rows, 1, vocabulary], token ids and positions of the batch. Output: what is added."""

    def __init__(self, inputs: list[ov.Output] | None = None) -> None:
        super().__init__(self)
        if inputs is not None:
            self.set_arguments(inputs)
            self.constructor_validate_and_infer_types()

    def validate_and_infer_types(self) -> None:
        """Any shape that can be added to the logits."""
        self.set_output_type(0, self.get_input_element_type(0), ov.PartialShape([-1, -1, -1]))

    def clone_with_new_inputs(self, new_inputs: list[ov.Output]) -> Steering:
        """For OpenVINO, which copies graphs."""
        return Steering(new_inputs)

    def has_evaluate(self) -> bool:
        """Computed here, in Python."""
        return True

    def visit_attributes(self, _visitor: object) -> bool:
        """There is nothing to be saved with a model."""
        return True

    def evaluate(self, outputs: list[ov.Tensor], inputs: list[ov.Tensor]) -> bool:
        """Ask the conductor, and push what it chose."""
        rows = inputs[0].data.reshape(inputs[0].shape[0], inputs[0].shape[-1])
        chosen: Mapping[int, int] = {}
        if (leader := conductor()) is not None:
            chosen = leader.choose(rows, inputs[1].data.ravel(), inputs[2].data.ravel())
        if not chosen:
            outputs[0].shape = [len(rows), 1, 1]
            outputs[0].data[:] = 0
            return True
        outputs[0].shape = [len(rows), 1, rows.shape[1]]
        added = outputs[0].data
        added.fill(0)
        for row, token in chosen.items():
            added[row, 0, token] = PUSH
        return True
