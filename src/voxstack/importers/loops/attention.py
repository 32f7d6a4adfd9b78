"""Find what a step attends to: the weights over the memory, non-negative and of sum one."""

import numpy as np

from voxstack.importers.graphs.graph import Graph, attribute
from voxstack.importers.graphs.sizes import Shape, Shapes, Size

__all__ = ["find_alignment", "reduced"]


def find_alignment(step: Graph, shapes: Shapes, axis: str) -> str | None:
    """Return a tensor [batch, axis] of a step that holds its attention weights, made if need be.

    They are a Softmax over the memory's axis, or what was divided by its own sum over it. Several heads
    are averaged; several attentions, or none, are no alignment.
    """
    found = [
        node.output[0]
        for node in step.nodes
        if node.output
        and _sums_to_one(step, shapes, node.output[0])
        and _is_along(shapes.of.get(node.output[0]), axis)
    ]
    if len(found) != 1:
        return None
    shape = shapes.of[found[0]]
    others = shape[:-1]
    weights = found[0]
    if any(size != Size.number(1) for size in others):
        places = list(range(1, len(shape) - 1))
        return reduced(step, "ReduceMean", weights, places)
    if len(shape) == 2:
        return weights
    return step.add("Reshape", [weights, step.constant(np.asarray([1, -1], np.int64))])


def reduced(graph: Graph, op: str, tensor: str, axes: list[int]) -> str:
    """Reduce a tensor along axes, which opset 18 made an input."""
    if graph.opset < 18 and op != "ReduceSum":
        return graph.add(op, [tensor], {"axes": axes, "keepdims": 0})
    return graph.add(op, [tensor, graph.constant(np.asarray(axes, np.int64))], {"keepdims": 0})


def _is_along(shape: Shape | None, axis: str) -> bool:
    return bool(shape) and shape[-1] == Size(axis, 1, 0)


def _sums_to_one(step: Graph, shapes: Shapes, tensor: str) -> bool:
    node = step.producer(tensor)
    if node is None:
        return False
    if node.op_type == "Softmax":
        return attribute(node, "axis") in (None, -1, len(shapes.of.get(tensor, ())) - 1)
    if node.op_type != "Div":
        return False
    below = step.producer(node.input[1])
    return below is not None and below.op_type == "ReduceSum" and below.input[0] == node.input[0]
