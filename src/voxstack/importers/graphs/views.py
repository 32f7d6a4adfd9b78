"""Bring a net that was exported with channels last into one order: views cancel, convolutions become 1-D.

A view is an operator that only names or orders axes anew: Transpose, Unsqueeze, Squeeze, and a Reshape that
moves axes of size one. Exporters put several around each convolution.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from voxstack.importers.graphs.graph import Constant, Edge, Graph, attribute, attributes
from voxstack.importers.graphs.shape_rules import ELEMENTWISE, ints
from voxstack.importers.graphs.shapes import infer_shapes
from voxstack.importers.graphs.sizes import Shape, Shapes, Size

__all__ = ["join_views", "lay_channels_first", "narrow_convolutions", "sink_transposes"]

ONE = Size.number(1)
Axes = tuple[int | None, ...]  # for each axis of a view: the source's axis; None where it has size one


def join_views(graph: Graph) -> int:
    """Replace chains of views by one Transpose, or by nothing; return how many chains became shorter."""
    shapes = infer_shapes(graph)
    changes = 0
    for node in list(graph.nodes):
        chain = _chain(graph, shapes, node)
        if not chain:
            continue
        source = chain[-1].input[0]
        if graph.is_output(node.output[0]) and (graph.producer(source) is None or graph.is_output(source)):
            continue
        shape = shapes.of[source]
        axes = _viewed(shapes, chain)
        plain = tuple(None if size == ONE else place for place, size in enumerate(shape))
        if axes is None or sorted(map(str, axes)) != sorted(map(str, plain)):
            continue
        if axes == plain:
            graph.replace(node.output[0], source)
            changes += 1
        elif len(chain) > 1 or node.op_type != "Transpose":
            perm = _permutation(axes, plain)
            graph.replace(node.output[0], graph.add("Transpose", [source], {"perm": perm}))
            changes += 1
    graph.prune()
    return changes


def _chain(graph: Graph, shapes: Shapes, node: onnx.NodeProto | None) -> list[onnx.NodeProto]:
    """Return the views that end in `node`, the last first."""
    chain: list[onnx.NodeProto] = []
    while node is not None and _is_view(shapes, node):
        chain.append(node)
        node = graph.producer(node.input[0])
    return chain


def _is_view(shapes: Shapes, node: onnx.NodeProto) -> bool:
    if node.op_type not in ("Transpose", "Unsqueeze", "Squeeze", "Reshape"):
        return False
    before, after = (shapes.of.get(name) for name in (node.input[0], node.output[0]))
    if before is None or after is None or None in before or None in after:
        return False
    if node.op_type == "Reshape":
        wide = [[size for size in shape if size != ONE] for shape in (before, after)]
        return wide[0] == wide[1]
    return True


def _viewed(shapes: Shapes, chain: Sequence[onnx.NodeProto]) -> Axes | None:
    """Return where each axis of a chain's result comes from."""
    shape = shapes.of[chain[-1].input[0]]
    axes: Axes = tuple(None if size == ONE else place for place, size in enumerate(shape))
    for node in reversed(chain):
        after = shapes.of[node.output[0]]
        if node.op_type == "Transpose":
            axes = tuple(axes[place] for place in _perm(node, len(axes)))
        else:
            kept = iter([place for place in axes if place is not None])
            axes = tuple(None if size == ONE else next(kept) for size in after)
    return axes


def _permutation(axes: Axes, plain: Axes) -> list[int]:
    free = iter([place for place, axis in enumerate(plain) if axis is None])
    return [next(free) if place is None else place for place in axes]


def _perm(node: onnx.NodeProto, rank: int) -> list[int]:
    return ints(attribute(node, "perm")) or list(reversed(range(rank)))


def sink_transposes(graph: Graph) -> int:
    """Move each Transpose behind what works element by element, so that it meets its inverse.

    Where an operator reads several tensors, all must come out of the same Transpose.
    """
    ranks = {name: len(shape) for name, shape in infer_shapes(graph).of.items()}
    changes = 0
    for node in list(graph.nodes):
        sources = _transposed(graph, ranks, node)
        if not sources or graph.is_output(node.output[0]):
            continue
        perm = next(iter(sources.values()))[1]
        for place, name in enumerate(node.input):
            value = graph.value(name)
            if name in sources:
                node.input[place] = sources[name][0]
            elif value is not None and node.op_type == "Pad":
                pads = value.reshape(2, -1)[:, np.argsort(perm)] if place == 1 else value
                node.input[place] = graph.constant(pads.reshape(value.shape))
            elif value is not None:
                node.input[place] = graph.constant(_turned_back(value, perm))
        graph.changed()
        old = node.output[0]
        readers = graph.users(old)
        turned = graph.add("Transpose", [old], {"perm": list(perm)})
        for reader in readers:
            reader.input[:] = [turned if name == old else name for name in reader.input]
        graph.changed()
        graph.prune()  # later nodes look at the order of what is above them
        ranks[turned] = len(perm)
        changes += 1
    return changes


def _transposed(
    graph: Graph, ranks: Mapping[str, int], node: onnx.NodeProto
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return for each tensor that flows into a node what it was before its Transpose, and how it was turned.

    Nothing where the node is not to be moved across: the turns differ, or it does more than its elements.
    """
    flowing = [name for name in node.input if name and name not in graph.constants]
    if node.op_type not in ELEMENTWISE and not (node.op_type == "Pad" and len(flowing) == 1):
        return {}
    found: dict[str, tuple[str, tuple[int, ...]]] = {}
    for name in flowing:
        above = graph.producer(name)
        if above is None or above.op_type != "Transpose" or ranks.get(name) != ranks.get(node.output[0], -1):
            return {}
        found[name] = above.input[0], tuple(_perm(above, ranks[name]))
    return found if len({perm for _, perm in found.values()}) == 1 else {}


def _turned_back(value: Constant, perm: Sequence[int]) -> Constant:
    """Return a constant as it broadcasts against the tensor from before the Transpose."""
    if value.size == 1:
        return value.reshape(())
    full = value.reshape((1,) * (len(perm) - value.ndim) + value.shape)
    return full.transpose(np.argsort(perm))


def narrow_convolutions(graph: Graph) -> int:
    """Let each 2-D convolution over an axis of size one be 1-D between two views; return how many."""
    shapes = infer_shapes(graph)
    changes = 0
    for node in list(graph.nodes):
        if node.op_type not in ("Conv", "ConvTranspose") or node.input[1] not in graph.constants:
            continue
        shape = shapes.of.get(node.input[0], ())
        axis = _unit_axis(graph, node, shape)
        if axis is None:
            continue
        place = graph.constant(np.asarray([axis + 2]))
        node.input[0] = graph.add("Squeeze", [node.input[0], place])
        node.input[1] = graph.constant(np.squeeze(graph.constants[node.input[1]], axis + 2))
        options = attributes(node)
        del node.attribute[:]
        for key, value in options.items():
            kept = value
            if key in ("strides", "dilations", "kernel_shape", "output_padding"):
                kept = [ints(value)[1 - axis]]
            elif key == "pads":
                kept = [ints(value)[1 - axis], ints(value)[3 - axis]]
            node.attribute.append(onnx.helper.make_attribute(key, kept))
        graph.changed()
        old = node.output[0]
        readers = graph.users(old)
        wide = graph.add("Unsqueeze", [old, place])
        for reader in readers:
            reader.input[:] = [wide if name == old else name for name in reader.input]
        if graph.is_output(old):
            node.output[0] = f"{old}.narrow"
            graph.nodes[-1].input[0] = node.output[0]
            graph.nodes[-1].output[0] = old
        graph.changed()
        changes += 1
    graph.prune()
    return changes


def _unit_axis(graph: Graph, node: onnx.NodeProto, shape: Shape) -> int | None:
    """Return which spatial axis (0 or 1) has size one, and is left alone by the kernel."""
    weight, options = graph.constants[node.input[1]], attributes(node)
    if weight.ndim != 4 or len(shape) != 4 or options.get("auto_pad", "NOTSET") != "NOTSET":
        return None
    pads = ints(options.get("pads")) or [0] * 4
    strides = ints(options.get("strides")) or [1, 1]
    for axis in (0, 1):
        still = pads[axis] == pads[axis + 2] == 0 and strides[axis] == 1 and weight.shape[axis + 2] == 1
        if still and shape[axis + 2] == ONE:
            return axis
    return None


def lay_channels_first(graph: Graph, name: str) -> None:
    """Turn an edge [batch, time, channels] of the graph to [batch, channels, time], under its name."""
    perm = {"perm": [0, 2, 1]}
    for place, edge in enumerate(graph.inputs):
        if edge.name == name:
            readers = graph.users(name)
            turned = graph.add("Transpose", [name], perm)
            for reader in readers:
                reader.input[:] = [turned if other == name else other for other in reader.input]
            graph.inputs[place] = _turned(edge)
    for place, edge in enumerate(graph.outputs):
        if edge.name == name:
            inner = f"{name}.by_time"
            graph.rename(name, inner)
            graph.rename(graph.add("Transpose", [inner], perm), name)
            graph.outputs[place] = _turned(edge)
    graph.changed()


def _turned(edge: Edge) -> Edge:
    axes = edge.axes
    return Edge(edge.name, edge.dtype, (axes[0], axes[2], axes[1]) if axes and len(axes) == 3 else None)
