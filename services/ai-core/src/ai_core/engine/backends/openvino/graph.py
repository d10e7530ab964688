"""What is added to a model's graph, so that we choose its tokens and its cache keeps namespaces apart."""

from __future__ import annotations

import openvino as ov
from openvino import opset13 as ops

from ai_core.engine.backends.openvino.linears import linears
from ai_core.engine.backends.openvino.lora import Lora
from ai_core.engine.backends.openvino.marking import id_bits
from ai_core.engine.backends.openvino.steering import Steering

INPUT_IDS = "input_ids"
POSITIONS = "position_ids"
LOGITS = "logits"
_NEEDED = frozenset({INPUT_IDS, POSITIONS})


class UnknownGraph(Exception):
    """The model's graph is not that of a language model as we know it; the text says why."""


def prepare(model: ov.Model, *, adapters: bool) -> list[str]:
    """Change the graph in place: marks are taken from token ids before anything looks at them, and
    :class:`.steering.Steering` adds to the logits of each row what it likes. With ``adapters``, a node adds
    to each product of the layers, too (:class:`.lora.Lora`). A graph that was prepared before only gets what
    it does not have.

    The sum stands where OpenVINO looks for the last product of a model, as an addition of a bias: so it still
    computes logits for those tokens only whose successors are chosen.

    Returns:
        The names of the products that adapters may change, by the numbers that their nodes have.

    Raises:
        UnknownGraph: it has other inputs or outputs.
    """
    inputs = {name: port for port in model.inputs for name in port.get_names()}
    if missing := _NEEDED - set(inputs):
        raise UnknownGraph(f"it has no input {', '.join(sorted(missing))}")
    if len(model.outputs) != 1:
        raise UnknownGraph(f"it has {len(model.outputs)} outputs instead of one")
    ids, positions = inputs[INPUT_IDS], inputs[POSITIONS]
    products = linears(model) if adapters else {}
    for number, linear in enumerate(products.values()):
        _adapt(linear, number, ids, positions)
    if not any(node.get_type_name() == Steering.__name__ for node in model.get_ops()):
        _steer(model, ids, positions)
    model.validate_nodes_and_infer_types()
    return list(products)


def _steer(model: ov.Model, ids: ov.Output, positions: ov.Output) -> None:
    result = model.output(0).get_node()
    product = result.input_value(0)
    if product.get_node().get_type_name() != "MatMul" or product.partial_shape[-1].is_dynamic:
        raise UnknownGraph("its output is no product with the vocabulary's matrix")
    _unmark(ids, product.partial_shape[-1].get_length())
    steering = Steering([product, ids, positions]).output(0)
    result.input(0).replace_source_output(ops.add(product, steering).output(0))
    model.output(0).set_names({LOGITS})


def vocabulary_size(model: ov.Model) -> int:
    """How many tokens a model has logits for."""
    return int(model.output(0).partial_shape[-1].get_length())


def _adapt(linear: ov.Node, number: int, ids: ov.Output, positions: ov.Output) -> None:
    output = linear.output(0)
    readers = list(output.get_target_inputs())
    lora = Lora([linear.input_value(0), ids, positions, ops.constant(number, dtype="int64").output(0)])
    total = ops.add(output, lora.output(0)).output(0)
    for reader in readers:
        reader.replace_source_output(total)


def _unmark(ids: ov.Output, vocabulary: int) -> None:
    own = (Lora.__name__, Steering.__name__)
    readers = [reader for reader in ids.get_target_inputs() if reader.get_node().get_type_name() not in own]
    mask = ops.constant((1 << id_bits(vocabulary)) - 1, dtype="int64")
    unmarked = ops.bitwise_and(ids, mask).output(0)
    for reader in readers:
        reader.replace_source_output(unmarked)
