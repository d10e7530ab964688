"""Which product of a model's graph belongs to which of its layers.

Graphs that were made of GGUF files have no names for their products, and converted ones have their own. So
the place of a product tells what it is: the three that lead to an attention are its queries, keys and values,
the first one behind it is its output, and of a feed-forward block the one whose two factors come from two
products is the last.
"""

from __future__ import annotations

from collections.abc import Iterator

import openvino as ov

_PRODUCT = "MatMul"
_ATTENTION = "ScaledDotProductAttention"
_GATES = frozenset({"Swish", "Sigmoid", "Gelu"})


def linears(model: ov.Model) -> dict[str, ov.Node]:
    """The products with matrices of the layers, by the names that PEFT has for them, e.g.
    ``layers.0.self_attn.q_proj``. What cannot be told apart is left out."""
    nodes = model.get_ordered_ops()
    found: dict[str, ov.Node] = {}
    attentions = [node for node in nodes if node.get_type_name() == _ATTENTION]
    for number, attention in enumerate(attentions):
        block = f"layers.{number}.self_attn"
        for place, name in enumerate(("q_proj", "k_proj", "v_proj")):
            _put(found, f"{block}.{name}", _above(attention.input_value(place).get_node()))
        _put(found, f"{block}.o_proj", _below(attention))
    blocks = [parts for node in nodes if (parts := _feed_forward(node)) is not None]
    if len(blocks) == len(attentions):
        for number, parts in enumerate(blocks):
            for name, node in zip(("gate_proj", "up_proj", "down_proj"), parts, strict=True):
                found[f"layers.{number}.mlp.{name}"] = node
    return found


def shape_of(linear: ov.Node) -> tuple[int, int]:
    """Numbers that go in, and that come out."""
    matrix = linear.input_value(1).get_partial_shape()
    rows, columns = (dimension.get_length() for dimension in list(matrix)[-2:])
    return (columns, rows) if linear.get_attributes()["transpose_b"] else (rows, columns)


def _put(found: dict[str, ov.Node], name: str, nodes: list[ov.Node]) -> None:
    if len(nodes) == 1:
        found[name] = nodes[0]


def _is_linear(node: ov.Node) -> bool:
    """Whether it multiplies with a matrix of the model."""
    return node.get_type_name() == _PRODUCT and _is_constant(node.input_value(1).get_node())


def _is_constant(node: ov.Node) -> bool:
    waiting = [node]
    while waiting:
        current = waiting.pop()
        sources = [value.get_node() for value in current.input_values()]
        if not sources and current.get_type_name() != "Constant":
            return False
        waiting += sources
    return True


def _above(node: ov.Node) -> list[ov.Node]:
    """The nearest products on all ways up from a node."""
    return [one for one in _way_up(node) if _is_linear(one)]


def _way_up(node: ov.Node) -> Iterator[ov.Node]:
    """A node and all that lead to it, up to the nearest products."""
    waiting, seen = [node], set()
    while waiting:
        current = waiting.pop()
        if (name := current.get_name()) in seen:
            continue
        seen.add(name)
        yield current
        if not _is_linear(current):
            waiting += [value.get_node() for value in current.input_values()]


def _below(node: ov.Node) -> list[ov.Node]:
    """The nearest products on all ways down from a node."""
    waiting, seen, found = [node], set(), []
    while waiting:
        current = waiting.pop()
        for output in current.outputs():
            for reader in output.get_target_inputs():
                target = reader.get_node()
                if (name := target.get_name()) in seen:
                    continue
                seen.add(name)
                if _is_linear(target):
                    found.append(target)
                else:
                    waiting.append(target)
    return found


def _feed_forward(last: ov.Node) -> tuple[ov.Node, ov.Node, ov.Node] | None:
    """Gate, up and down, if this is the last product of such a block."""
    if not _is_linear(last) or last.input_value(0).get_node().get_type_name() != "Multiply":
        return None
    branches = [list(_way_up(value.get_node())) for value in last.input_value(0).get_node().input_values()]
    ends = [[node for node in branch if _is_linear(node)] for branch in branches]
    gates = [any(node.get_type_name() in _GATES for node in branch) for branch in branches]
    if [len(end) for end in ends] != [1, 1] or gates.count(True) != 1:
        return None
    gate, up = ends if gates[0] else reversed(ends)
    return gate[0], up[0], last
