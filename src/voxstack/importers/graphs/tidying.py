"""Write what a TensorFlow graph became on its way to ONNX as the operators that it means.

SpaceToBatch · Conv · BatchToSpace       → Conv with dilation
Conv with auto_pad, or behind zeros      → Conv with pads
ConvTranspose, cropped                   → ConvTranspose with pads
Conv, + bias, × scale, + shift           → Conv
mean, variance, rsqrt, × scale, + shift  → LayerNormalization
Reshape · MatMul · Reshape               → MatMul
2-D over a height of one, views          → 1-D, channels first (views.py)
"""

import numpy as np
import onnx

from voxstack.importers.graphs.folding import fold
from voxstack.importers.graphs.graph import Constant, Edge, Graph, attribute, attributes
from voxstack.importers.graphs.norms import join_scaled_norms
from voxstack.importers.graphs.shape_rules import WHOLE, ints
from voxstack.importers.graphs.shapes import infer_shapes
from voxstack.importers.graphs.sizes import Shapes, Size
from voxstack.importers.graphs.views import join_views, narrow_convolutions, sink_transposes

__all__ = ["tidy"]

ROUNDS = 8
BATCH = "batch"
VIEWS = ("Squeeze", "Transpose", "Unsqueeze")


def tidy(graph: Graph) -> Graph:
    """Tidy in place until nothing changes; what is computed stays the same, to float rounding."""
    graph.prune()
    name_pads(graph)
    dilate_convolutions(graph)
    unflatten_products(graph)
    fold(graph)
    for _ in range(ROUNDS):
        changes = fold_slices(graph) + absorb_crops(graph) + absorb_zeros(graph) + absorb_affine(graph)
        changes += narrow_convolutions(graph) + join_views(graph) + sink_transposes(graph)
        fold(graph)
        if not changes:
            break
    join_scaled_norms(graph)
    return fold(graph)


def name_pads(graph: Graph) -> None:
    """Write auto_pad as the pads that it means, where that does not depend on the length."""
    for node in graph.nodes:
        options = attributes(node)
        mode = options.get("auto_pad", "NOTSET")
        weight = graph.value(node.input[1]) if node.op_type == "Conv" else None
        if weight is None or mode == "NOTSET":
            continue
        rank = weight.ndim - 2
        strides = ints(options.get("strides")) or [1] * rank
        dilations = ints(options.get("dilations")) or [1] * rank
        if mode != "VALID" and any(stride != 1 for stride in strides):
            continue
        reach = [d * (size - 1) for d, size in zip(dilations, weight.shape[2:], strict=True)]
        if mode == "VALID":
            reach = [0] * rank
        small, large = [size // 2 for size in reach], [size - size // 2 for size in reach]
        pads = [*large, *small] if mode == "SAME_LOWER" else [*small, *large]
        kept = [item for item in node.attribute if item.name not in ("auto_pad", "pads")]
        del node.attribute[:]
        node.attribute.extend([*kept, onnx.helper.make_attribute("pads", pads)])


def dilate_convolutions(graph: Graph) -> int:
    """Find convolutions between SpaceToBatch and BatchToSpace [batch, time, channels], and dilate them."""
    changes = 0
    for node in [node for node in graph.nodes if node.op_type == "Conv"]:
        pad, reshapes = _above(graph, node)
        crop, reshaped = _below(graph, node)
        if pad is None or crop is None or reshapes != 2 or reshaped != 2:
            continue
        factor = _block(graph, pad)
        weight = graph.value(node.input[1])
        if factor is None or weight is None or weight.ndim != 4:
            continue
        turned = graph.add("Transpose", [pad.input[0]], {"perm": [0, 2, 1]})
        wide = graph.add("Unsqueeze", [turned, graph.constant(np.asarray([2]))])
        options = {"kernel_shape": list(weight.shape[2:]), "dilations": [1, factor]}
        conv = graph.add("Conv", [wide, *node.input[1:]], options)
        flat = graph.add("Squeeze", [conv, graph.constant(np.asarray([2]))])
        graph.replace(crop.output[0], graph.add("Transpose", [flat], {"perm": [0, 2, 1]}))
        changes += 1
    graph.prune()
    return changes


def _above(graph: Graph, node: onnx.NodeProto) -> tuple[onnx.NodeProto | None, int]:
    """Return the Pad, of a size computed from the length, that a convolution reads through Reshapes."""
    reshapes = 0
    top = graph.producer(node.input[0])
    while top is not None and top.op_type in (*VIEWS, "Reshape"):
        reshapes += top.op_type == "Reshape"
        top = graph.producer(top.input[0])
    found = top is not None and top.op_type == "Pad" and top.input[1] not in graph.constants
    return (top if found else None), reshapes


def _below(graph: Graph, node: onnx.NodeProto) -> tuple[onnx.NodeProto | None, int]:
    """Return the Slice that ends a convolution's way back through Reshapes."""
    reshapes = 0
    tensor = node.output[0]
    while len(users := [user for user in graph.users(tensor) if user.op_type != "Shape"]) == 1:
        if users[0].op_type not in (*VIEWS, "Reshape"):
            return (users[0] if users[0].op_type == "Slice" else None), reshapes
        reshapes += users[0].op_type == "Reshape"
        tensor = users[0].output[0]
    return None, reshapes


def _block(graph: Graph, pad: onnx.NodeProto) -> int | None:
    """Return the one number to whose multiple a Pad fills up the length."""
    factors: set[int] = set()
    for node in graph.ancestors(pad.input[1], stop=[pad.input[0]]):
        value = graph.value(node.input[1]) if node.op_type == "Div" else None
        if value is not None:
            factors |= {int(item) for item in value.reshape(-1)}
    return factors.pop() if len(factors) == 1 else None


def unflatten_products(graph: Graph) -> int:
    """Multiply [batch, time, channels] as it is, not as a [batch · time, channels] made for the product.

    The product batch · time is no size that can be followed, so shapes are looked up for a batch of one.
    """
    edges = graph.inputs
    graph.inputs = [_of_one(edge) for edge in edges]
    shapes = infer_shapes(graph)
    graph.inputs = edges
    changes = 0
    for node in [node for node in graph.nodes if node.op_type == "MatMul"]:
        above, users = graph.producer(node.input[0]), graph.users(node.output[0])
        weight = graph.value(node.input[1])
        if above is None or above.op_type != "Reshape" or weight is None or weight.ndim != 2:
            continue
        if len(users) != 1 or users[0].op_type != "Reshape" or not _keeps_steps(shapes, above, users[0]):
            continue
        before = shapes.of[above.input[0]]
        if before[-1] == Size.number(weight.shape[0]):
            graph.replace(users[0].output[0], graph.add("MatMul", [above.input[0], node.input[1]]))
        else:
            # Two axes were merged too ([batch, time, heads, channels]): only these are to be.
            sizes = graph.constant(np.asarray([0, 0, weight.shape[0]]))
            flat = graph.add("Reshape", [above.input[0], sizes])
            graph.replace(users[0].output[0], graph.add("MatMul", [flat, node.input[1]]))
        changes += 1
    graph.prune()
    return changes


def _keeps_steps(shapes: Shapes, above: onnx.NodeProto, below: onnx.NodeProto) -> bool:
    before, after = shapes.of.get(above.input[0]), shapes.of.get(below.output[0])
    return before is not None and after is not None and len(after) == 3 and before[:2] == after[:2]


def _of_one(edge: Edge) -> Edge:
    axes = None if edge.axes is None else tuple(1 if axis == BATCH else axis for axis in edge.axes)
    return Edge(edge.name, edge.dtype, axes)


def fold_slices(graph: Graph) -> int:
    """Count the end of a slice from the end, where it was computed from the length."""
    shapes = infer_shapes(graph)
    changes = 0
    for node in [node for node in graph.nodes if node.op_type == "Slice" and len(node.input) > 3]:
        data, axes = shapes.of.get(node.input[0]), graph.value(node.input[3])
        starts, ends = (shapes.sizes(name) for name in node.input[1:3])
        if data is None or axes is None or starts is None or ends is None or node.input[2] in graph.constants:
            continue
        if len(node.input) > 4 and graph.scalar(node.input[4]) != 1:
            continue
        found: list[int] = []
        for axis, end in zip(axes.reshape(-1), ends, strict=True):
            size = data[int(axis)]
            left = end.plus(size, -1) if end is not None and size is not None else None
            if left is None or left.known is None:
                break
            found.append(left.known if left.known < 0 else WHOLE)
        else:
            node.input[2] = graph.constant(np.asarray(found, np.int64))
            changes += 1
    graph.changed()
    return changes


def absorb_crops(graph: Graph) -> int:
    """Let a transposed convolution leave out what is cropped behind it."""
    changes = 0
    for node in [node for node in graph.nodes if node.op_type == "ConvTranspose"]:
        users = [user for user in graph.users(node.output[0]) if user.op_type != "Shape"]
        rank = len(graph.constants[node.input[1]].shape) - 2 if node.input[1] in graph.constants else 0
        if len(users) != 1 or users[0].op_type != "Slice" or len(users[0].input) != 4 or not rank:
            continue
        starts, ends, axes = (graph.value(name) for name in users[0].input[1:4])
        if starts is None or ends is None or axes is None or np.any(axes < 2) or np.any(starts < 0):
            continue
        if any(0 <= end < WHOLE for end in ends):
            continue
        pads = ints(attribute(node, "pads")) or [0] * (2 * rank)
        for start, end, axis in zip(starts, ends, axes, strict=True):
            pads[int(axis) - 2] += int(start)
            pads[int(axis) - 2 + rank] += max(0, -int(end))
        kept = [item for item in node.attribute if item.name != "pads"]
        del node.attribute[:]
        node.attribute.extend([*kept, onnx.helper.make_attribute("pads", pads)])
        graph.replace(users[0].output[0], node.output[0])
        changes += 1
    graph.prune()
    return changes


def absorb_zeros(graph: Graph) -> int:
    """Let a convolution put the zeros itself that a Pad puts around the time axis."""
    changes = 0
    for node in [node for node in graph.nodes if node.op_type == "Conv"]:
        pad = graph.producer(node.input[0])
        if pad is None or pad.op_type != "Pad" or attribute(pad, "mode") not in (None, "constant"):
            continue
        sizes = graph.value(pad.input[1])
        filled = graph.scalar(pad.input[2]) if len(pad.input) > 2 and pad.input[2] else 0.0
        if sizes is None or filled != 0 or len(pad.input) > 3 or np.any(sizes < 0):
            continue
        both = sizes.reshape(2, -1)
        own = ints(attribute(node, "pads")) or [0] * (both.size - 4)
        if np.any(both[:, :2]) or attribute(node, "auto_pad") not in (None, "NOTSET"):
            continue
        pads = [int(item) for item in np.asarray(own) + both[:, 2:].reshape(-1)]
        kept = [item for item in node.attribute if item.name != "pads"]
        del node.attribute[:]
        node.attribute.extend([*kept, onnx.helper.make_attribute("pads", pads)])
        node.input[0] = pad.input[0]
        graph.changed()
        changes += 1
    graph.prune()
    return changes


def absorb_affine(graph: Graph) -> int:
    """Take a factor or a summand for each channel, right behind a convolution, into its weights and bias."""
    changes = 0
    for node in [node for node in graph.nodes if node.op_type in ("Conv", "ConvTranspose")]:
        weight = graph.value(node.input[1])
        while weight is not None and not graph.is_output(node.output[0]):
            users = graph.users(node.output[0])
            if len(users) != 1 or users[0].op_type not in ("Add", "Mul"):
                break
            transposed = node.op_type == "ConvTranspose"
            grouped = attribute(node, "group") not in (None, 1)
            channels = weight.shape[1] if transposed else weight.shape[0]
            (other,) = [name for name in users[0].input if name != node.output[0]] or [""]
            vector = _by_channel(graph.value(other), channels, weight.ndim)
            bias = graph.value(node.input[2]) if len(node.input) > 2 else np.zeros(channels, weight.dtype)
            if vector is None or bias is None or (transposed and grouped):
                break
            if users[0].op_type == "Mul":
                shape = [1] * weight.ndim
                shape[1 if transposed else 0] = channels
                weight = (weight * vector.reshape(shape)).astype(weight.dtype)
                bias = bias * vector
            else:
                bias = bias + vector
            node.input[:] = [node.input[0], graph.constant(weight), graph.constant(bias.astype(weight.dtype))]
            graph.replace(users[0].output[0], node.output[0])
            graph.changed()
            changes += 1
    graph.prune()
    return changes


def _by_channel(value: Constant | None, channels: int, rank: int) -> Constant | None:
    """Return one number for each channel, where a constant holds that for [batch, channels, …]."""
    if value is None or value.dtype != np.float32:
        return None
    full = (1,) * (rank - value.ndim) + value.shape
    fits = value.ndim <= rank and full[0] == 1 and full[1] in (1, channels) and set(full[2:]) == {1}
    return np.broadcast_to(value.reshape(-1), (channels,)) if fits else None
