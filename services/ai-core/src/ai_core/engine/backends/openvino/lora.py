"""The node behind each product of a model that is served with adapters."""

from __future__ import annotations

import numpy as np
import openvino as ov

from ai_core.engine.backends.openvino.nodes import conductor


class Lora(ov.Op):
    """Inputs: what goes into a product [tokens, 1, in]; token ids and positions of the batch; the product's
    number. Output: what adapters add to what comes out of it."""

    def __init__(self, inputs: list[ov.Output] | None = None) -> None:
        super().__init__(self)
        if inputs is not None:
            self.set_arguments(inputs)
            self.constructor_validate_and_infer_types()

    def validate_and_infer_types(self) -> None:
        """Any shape that can be added to a product's."""
        self.set_output_type(0, self.get_input_element_type(0), ov.PartialShape([-1, -1, -1]))

    def clone_with_new_inputs(self, new_inputs: list[ov.Output]) -> Lora:
        """For OpenVINO, which copies graphs."""
        return Lora(new_inputs)

    def has_evaluate(self) -> bool:
        """Computed here, in Python."""
        return True

    def visit_attributes(self, _visitor: object) -> bool:
        """There is nothing to be saved with a model."""
        return True

    def evaluate(self, outputs: list[ov.Tensor], inputs: list[ov.Tensor]) -> bool:
        """Ask the conductor."""
        values = inputs[0].data
        rows = values.reshape(-1, values.shape[-1])
        added = None
        if (leader := conductor()) is not None:
            number = int(inputs[3].data.ravel()[0])
            added = leader.adapt(number, rows, inputs[1].data.ravel(), inputs[2].data.ravel())
        if added is None:
            outputs[0].shape = [1, 1, 1]
            outputs[0].data[:] = 0
        else:
            outputs[0].shape = [*values.shape[:-1], added.shape[-1]]
            outputs[0].data[:] = np.asarray(added, dtype=outputs[0].data.dtype).reshape(outputs[0].shape)
        return True
