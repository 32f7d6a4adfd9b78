"""Split a convolution whose channels are sliced apart at once into one convolution for each part.

Gated convolutions compute tanh(a) · sigmoid(b) from halves of one result. As two convolutions each fuses
with its activation, and nothing is copied.
"""

from dataclasses import dataclass

import numpy as np
import onnx

from voxstack.importers.graphs.graph import Graph, attribute, attributes

__all__ = ["split_gates"]


@dataclass(frozen=True)
class Part:
    """Name a range of a convolution's output channels, and the tensor that holds it."""

    tensor: str
    start: int
    end: int


def split_gates(graph: Graph) -> int:
    """Split in place; return how many convolutions were split."""
    count = 0
    for node in [node for node in graph.nodes if node.op_type == "Conv"]:
        if any(name not in graph.constants for name in node.input[1:]) or attribute(node, "group") not in (
            None,
            1,
        ):
            continue
        channels = graph.constants[node.input[1]].shape[0]
        parts = _parts(graph, node, channels)
        if parts is None:
            continue
        for part in parts:
            ours = [
                graph.constant(graph.constants[name][part.start : part.end].copy()) for name in node.input[1:]
            ]
            graph.replace(part.tensor, graph.add("Conv", [node.input[0], *ours], attributes(node)))
        count += 1
    graph.prune()
    return count


def _parts(graph: Graph, node: onnx.NodeProto, channels: int) -> list[Part] | None:
    """Return what a convolution's channels are sliced into; None if they are read whole, or overlap."""
    parts: list[Part] = []
    for user in graph.users(node.output[0]):
        if user.op_type == "Slice":
            numbers = [graph.value(name) for name in user.input[1:]]
            if len(numbers) < 3 or any(number is None or number.size != 1 for number in numbers):
                return None
            start, end, axis, *steps = (int(number.flat[0]) for number in numbers if number is not None)
            if axis != 1 or steps not in ([], [1]):
                return None
            first, last, _ = slice(start, end).indices(channels)
            parts.append(Part(user.output[0], first, last))
        elif user.op_type == "Split" and attribute(user, "axis") == 1 and len(user.input) > 1:
            sizes = graph.value(user.input[1])
            if sizes is None:
                return None
            ends = np.cumsum(sizes)
            parts += [
                Part(name, int(end - size), int(end))
                for name, size, end in zip(user.output, sizes, ends, strict=True)
            ]
        else:
            return None
    whole = sum(part.end - part.start for part in parts) == channels
    return parts if len(parts) > 1 and whole else None
