"""Infer every tensor's shape, with the graph's free axes kept by name.

ONNX's own inference forgets a free axis at each convolution; folding and receptive fields need it kept.
"""

from collections.abc import Sequence
from functools import partial, reduce

import numpy as np
import onnx

from voxstack.importers.graphs.graph import Constant, Edge, Graph, attribute
from voxstack.importers.graphs.shape_rules import (
    ELEMENTWISE,
    RULES,
    SAME_AS_FIRST,
    WHOLE,
    axes_of,
    ints,
    shape_part,
    split_shapes,
)
from voxstack.importers.graphs.sizes import Entries, Shapes, Size, arithmetic, broadcast, entries, flat

__all__ = ["float_edges", "infer_shapes"]


def infer_shapes(graph: Graph) -> Shapes:
    """Walk the graph once, in order; what cannot be known is left out, never guessed."""
    graph.prune()
    shapes = Shapes({}, {})
    for name, array in graph.constants.items():
        shapes.of[name] = tuple(Size.number(size) for size in array.shape)
        if array.dtype.kind == "i" and array.size <= 16:
            sizes = entries(tuple(Size.number(int(item)) for item in array.reshape(-1)))
            shapes.values[name] = sizes.reshape(array.shape)
    for edge in graph.inputs:
        if edge.axes is not None:
            shapes.of[edge.name] = tuple(
                Size.number(axis) if isinstance(axis, int) else Size(axis, 1, 0) for axis in edge.axes
            )
    for node in graph.nodes:
        known = [shapes.of.get(name) for name in node.input]
        _values(graph, shapes, node)
        rule = RULES.get(node.op_type)
        if node.op_type in ELEMENTWISE:
            shape = broadcast(known)
        elif node.op_type in SAME_AS_FIRST:
            shape = known[0]
        else:
            shape = rule(graph, shapes, node) if rule and known and known[0] is not None else None
        if node.op_type == "Split":
            split_shapes(graph, shapes, node)
        elif shape is not None:
            shapes.of[node.output[0]] = shape
    return shapes


def float_edges(graph: Graph, ops: Sequence[str]) -> list[Edge]:
    """Describe the outputs of some kinds of nodes (all float32), free sizes by name: "8*frames+1"."""
    shapes = infer_shapes(graph)
    edges: list[Edge] = []
    for node in graph.nodes:
        shape = shapes.of.get(node.output[0])
        if (
            node.op_type in ops
            and shape is not None
            and None not in shape
            and not graph.is_output(node.output[0])
        ):
            sizes = [size for size in shape if size is not None]
            axes = [size.offset if not size.axis else _name(size) for size in sizes]
            edges.append(Edge(node.output[0], "float32", tuple(axes)))
    return edges


def _name(size: Size) -> str:
    name = size.axis if size.scale == 1 else f"{size.scale}*{size.axis}"
    return f"{name}{size.offset:+d}" if size.offset else name


def _values(graph: Graph, shapes: Shapes, node: onnx.NodeProto) -> None:
    """Follow integers that are sizes: Shape, and the arithmetic exporters do on it."""
    if node.op_type == "Shape":
        shape = shapes.of.get(node.input[0])
        if shape is not None:
            shapes.values[node.output[0]] = entries(shape[shape_part(node)])
        return
    inputs = [shapes.values.get(name) for name in node.input]
    if not inputs or inputs[0] is None:
        return
    result = _value(graph, node, inputs[0], inputs[1:])
    if result is not None:
        shapes.values[node.output[0]] = result


def _value(
    graph: Graph, node: onnx.NodeProto, first: Entries, others: list[Entries | None]
) -> Entries | None:
    kind = node.op_type
    if kind in ("Add", "Sub", "Mul", "Div", "Max") and len(others) == 1 and others[0] is not None:
        return np.asarray(np.frompyfunc(partial(arithmetic, kind), 2, 1)(first, others[0]), object)
    if kind == "Neg":
        return np.asarray(np.frompyfunc(partial(arithmetic, "Sub", Size.number(0)), 1, 1)(first), object)
    if kind == "Cast":
        return first if attribute(node, "to") in (onnx.TensorProto.INT64, onnx.TensorProto.INT32) else None
    if kind == "Concat":
        parts = [first, *(part for part in others if part is not None)]
        return np.concatenate(parts) if len(parts) == len(node.input) and first.ndim else None
    if kind == "Transpose":
        return first.transpose(ints(attribute(node, "perm")) or None)
    if kind == "ReduceProd" and first.ndim == 1:
        product = reduce(partial(arithmetic, "Mul"), flat(first), Size.number(1))
        return np.asarray([product] if attribute(node, "keepdims") != 0 else product, object)
    axes = axes_of(graph, node)
    if kind == "Unsqueeze" and axes is not None:
        return np.expand_dims(first, tuple(axes))
    if kind == "Squeeze":
        return np.squeeze(first, tuple(axes)) if axes else np.squeeze(first)
    numbers = [number for name in node.input[1:] if (number := graph.value(name)) is not None]
    return _picked(kind, first, numbers) if len(numbers) == len(node.input) - 1 else None


def _picked(kind: str, first: Entries, numbers: list[Constant]) -> Entries | None:
    """Follow what picks or rearranges entries at constant places."""
    if kind == "Gather" and first.ndim:
        return np.asarray(np.take(first, numbers[0].astype(int), axis=0), object)
    if kind == "Reshape":
        return first.reshape([int(item) for item in numbers[0]])
    if kind == "Slice" and all(number.size == 1 for number in numbers):
        given = [int(number.flat[0]) for number in numbers]
        start, end, axis, step = (*given, *(0, 1)[len(given) - 2 :])
        place = [slice(None)] * first.ndim
        place[axis] = slice(start, None if step < 0 and end < -WHOLE else end, step)
        return first[tuple(place)]
    return None
