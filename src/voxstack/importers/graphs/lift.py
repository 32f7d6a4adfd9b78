"""Give every tensor [batch, channels, time] of a net a height of one, so that its convolutions become 2-D.

Runtimes keep their fastest, channel-blocked convolutions for images. A signal is an image of height 1; the
numbers are the same.
"""

from collections.abc import Callable

import numpy as np
import onnx

from voxstack.importers.graphs.graph import Graph, attribute, attributes
from voxstack.importers.graphs.shape_rules import ELEMENTWISE, ints
from voxstack.importers.graphs.shapes import infer_shapes

__all__ = ["lift_convolutions", "lift_to_2d"]

HEIGHT = 2  # the new axis: [batch, channels, height, time]
BY_CHANNEL = ("Concat", "Split", "Slice")


def lift_to_2d(graph: Graph) -> bool:
    """Lift a net in place, all but its edges; return False, nothing done, where an operator forbids it."""
    shapes = infer_shapes(graph)
    ends = [node for node in graph.nodes if node.op_type == "Squeeze" and graph.is_output(node.output[0])]
    middle = [node for node in graph.nodes if all(node is not end for end in ends)]
    ranks = {name: len(shape) for name, shape in shapes.of.items()}
    if not all(_can_lift(graph, ranks, node) for node in middle):
        return False
    for edge in [edge for edge in graph.inputs if len(edge.axes or ()) == 3]:
        users = graph.users(edge.name)
        lifted = graph.add("Unsqueeze", [edge.name, graph.constant(np.asarray([HEIGHT]))])
        for node in users:
            node.input[:] = [lifted if name == edge.name else name for name in node.input]
    done: dict[str, str] = {}
    for node in middle:
        _lift_node(graph, ranks, node, done)
    for node in ends:
        (axis,) = (int(item) for item in graph.constants[node.input[1]].reshape(-1))
        node.input[1] = graph.constant(np.asarray([axis, HEIGHT]))
    for node in middle:
        for place, name in enumerate(node.output):
            if graph.is_output(name):
                node.output[place] = f"{name}.lifted"
                graph.changed()
                graph.add("Squeeze", [node.output[place], graph.constant(np.asarray([HEIGHT]))])
                graph.nodes[-1].output[0] = name
    graph.changed()
    graph.prune()
    return True


def lift_convolutions(graph: Graph) -> int:
    """Lift each convolution alone, with its Relu, where a net cannot be lifted whole; return how many."""
    axis = graph.constant(np.asarray([HEIGHT]))
    ranks = {name: array.ndim for name, array in graph.constants.items()}
    done: dict[str, str] = {}
    count = 0
    for node in [node for node in graph.nodes if node.op_type == "Conv" and ranks.get(node.input[1]) == 3]:
        before, after = node.input[0], node.output[0]
        readers = graph.users(after)
        if len(readers) == 1 and readers[0].op_type == "Relu":
            after = readers[0].output[0]
        if graph.is_output(after):
            continue
        _lift_node(graph, ranks, node, done)
        node.input[0] = graph.add("Unsqueeze", [before, axis])
        graph.changed()
        readers = graph.users(after)
        squeezed = graph.add("Squeeze", [after, axis])
        for reader in readers:
            reader.input[:] = [squeezed if name == after else name for name in reader.input]
        graph.changed()
        count += 1
    graph.prune()
    return count


def _can_lift(graph: Graph, ranks: dict[str, int], node: onnx.NodeProto) -> bool:
    if node.op_type in ("Conv", "ConvTranspose"):
        return all(name in graph.constants for name in node.input[1:]) and ranks.get(node.input[0]) == 3
    if node.op_type in ELEMENTWISE:
        return all(ranks.get(name) in (0, 3) or graph.scalar(name) is not None for name in node.input if name)
    if node.op_type == "Slice":
        axes = graph.value(node.input[3]) if len(node.input) > 3 else None
        return axes is not None and bool(np.all(axes == 1))
    if node.op_type == "Pad":
        pads = graph.value(node.input[1])
        return pads is not None and pads.size == 6 and len(node.input) < 4 and ranks.get(node.input[0]) == 3
    return node.op_type in BY_CHANNEL and attribute(node, "axis") == 1


def _lift_node(graph: Graph, ranks: dict[str, int], node: onnx.NodeProto, done: dict[str, str]) -> None:
    for place, name in enumerate(node.input):
        array = graph.value(name)
        wanted = array is not None and ranks.get(name) == 3 and (node.op_type in ELEMENTWISE or place == 1)
        if array is not None and wanted:
            if name not in done:
                done[name] = graph.constant(np.expand_dims(array, HEIGHT))
            node.input[place] = done[name]
    if node.op_type == "Pad":
        pads = graph.constants[node.input[1]].reshape(2, 3)
        node.input[1] = graph.constant(np.insert(pads, HEIGHT, 0, axis=1).reshape(-1))
    if node.op_type not in ("Conv", "ConvTranspose"):
        return
    options = attributes(node)
    del node.attribute[:]
    for key, value in options.items():
        wide = _WIDE[key](ints(value)) if key in _WIDE else value
        node.attribute.append(onnx.helper.make_attribute(key, wide))


_WIDE: dict[str, Callable[[list[int]], list[int]]] = {
    "dilations": lambda one: [1, *one],
    "kernel_shape": lambda one: [1, *one],
    "output_padding": lambda one: [0, *one],
    "pads": lambda one: [0, one[0], 0, one[1]],
    "strides": lambda one: [1, *one],
}
