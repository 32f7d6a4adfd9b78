"""Drop nodes that change nothing: + 0, × 1, whole slices, empty pads, casts and reshapes to what is there."""

from collections.abc import Callable

import numpy as np
import onnx
from onnx import helper

from voxstack.importers.graphs.graph import Graph, attribute
from voxstack.importers.graphs.shape_rules import WHOLE, ints
from voxstack.importers.graphs.sizes import Shapes

__all__ = ["NEUTRAL", "drop_noops"]

NEUTRAL = {"Add": 0.0, "Sub": 0.0, "Mul": 1.0, "Div": 1.0, "Pow": 1.0}


def drop_noops(graph: Graph, shapes: Shapes) -> int:
    """Drop in place; return how many nodes went."""
    changes = 0
    for node in list(graph.nodes):
        rule = _RULES.get(node.op_type)
        kept = rule(graph, shapes, node) if rule else None
        if kept is not None and _can_bypass(graph, node.output[0], kept):
            graph.replace(node.output[0], kept)
            changes += 1
    return changes


def _can_bypass(graph: Graph, gone: str, kept: str) -> bool:
    """Say whether `kept` may take the place of `gone`: an output must be made, and has one name only."""
    return not graph.is_output(gone) or (graph.producer(kept) is not None and not graph.is_output(kept))


def _neutral(graph: Graph, shapes: Shapes, node: onnx.NodeProto) -> str | None:
    pairs = [(node.input[0], node.input[1])]
    if node.op_type in ("Add", "Mul"):
        pairs.append((node.input[1], node.input[0]))
    for other, constant in pairs:
        value = graph.value(constant)
        stays = value is not None and (value.ndim == 0 or shapes.same(other, node.output[0]))
        if stays and graph.scalar(constant) == NEUTRAL[node.op_type]:
            return other
    return None


def _same_shape(graph: Graph, shapes: Shapes, node: onnx.NodeProto) -> str | None:
    return node.input[0] if shapes.same(node.input[0], node.output[0]) else None


def _slice(graph: Graph, shapes: Shapes, node: onnx.NodeProto) -> str | None:
    if len(node.input) > 4 and graph.scalar(node.input[4]) != 1:
        return None
    start, end = graph.value(node.input[1]), graph.value(node.input[2])
    whole = start is not None and end is not None and np.all(start == 0) and np.all(end >= WHOLE)
    return node.input[0] if whole or shapes.same(node.input[0], node.output[0]) else None


def _pad(graph: Graph, shapes: Shapes, node: onnx.NodeProto) -> str | None:
    return node.input[0] if graph.scalar(node.input[1]) == 0 else None


def _transpose(graph: Graph, shapes: Shapes, node: onnx.NodeProto) -> str | None:
    perm = ints(attribute(node, "perm"))
    if perm and perm == sorted(perm):
        return node.input[0]
    above = graph.producer(node.input[0])
    if above is None or above.op_type != "Transpose":
        return None
    outer = ints(attribute(above, "perm"))
    back = outer and perm and [outer[place] for place in perm] == sorted(perm)
    return above.input[0] if back else None


def _cast(graph: Graph, shapes: Shapes, node: onnx.NodeProto) -> str | None:
    for edge in graph.inputs:
        if edge.name == node.input[0]:
            already = helper.np_dtype_to_tensor_dtype(np.dtype(edge.dtype))
            return node.input[0] if already == attribute(node, "to") else None
    return None


def _single(graph: Graph, shapes: Shapes, node: onnx.NodeProto) -> str | None:
    return node.input[0] if len(node.input) == 1 else None


_RULES: dict[str, Callable[[Graph, Shapes, onnx.NodeProto], str | None]] = {
    **dict.fromkeys(NEUTRAL, _neutral),
    "Cast": _cast,
    "Concat": _single,
    "Dropout": _same_shape,
    "Expand": _same_shape,
    "Identity": _single,
    "Pad": _pad,
    "Reshape": _same_shape,
    "Slice": _slice,
    "Transpose": _transpose,
}
