"""Rewrite a waveform decoder so that a CPU runs it near its peak; what it computes stays the same.

What is rewritten, and why (measured on one thread against the same net as exported: 0.65 of its time):

    Conv over [batch, channels, time]   → 2-D: channel-blocked kernels exist for images only (lift.py)
    ConvTranspose                       → Conv to stride · channels, whose channels are then read as time: a
                                          plain convolution runs at twice the speed of a transposed one
    x / n before an activation          → into the next weights: LeakyRelu passes positive factors through
    LeakyRelu of a tensor used twice    → behind a depthwise 1 x 1 identity, into which it fuses: alone it
                                          would leave the blocked layout and come back
    Conv to one channel                 → 16 samples at a time as 16 channels: kernels pad one to 16 anyway
    the names of all free sizes         → written down, so that a runtime sees which sums have equal shapes
"""

from collections.abc import Mapping

import numpy as np
import onnx

from voxstack.importers.graphs.graph import Graph, attributes
from voxstack.importers.graphs.lift import lift_to_2d
from voxstack.importers.graphs.shapes import infer_shapes

__all__ = ["speed_up"]

BLOCK = 16
"""Channels that kernels take at once; what is not a multiple of it is left as it is."""


def speed_up(graph: Graph) -> bool:
    """Rewrite in place; return False, nothing done, where the net is not made of liftable operators."""
    if not lift_to_2d(graph):
        return False
    fold_averages(graph)
    for node in [node for node in graph.nodes if node.op_type == "ConvTranspose"]:
        replace_upsampling(graph, node)
    graph.prune()
    for node in [node for node in graph.nodes if node.op_type == "Conv"]:
        block_last(graph, node)
    graph.prune()
    for node in [node for node in graph.nodes if node.op_type == "LeakyRelu"]:
        anchor_activation(graph, node)
    graph.prune()
    return True


def fold_averages(graph: Graph) -> None:
    """Move a positive factor from before a LeakyRelu into the weights behind it."""
    for node in list(graph.nodes):
        if node.op_type not in ("Div", "Mul") or len(node.input) != 2:
            continue
        number = graph.scalar(node.input[1])
        users = graph.users(node.output[0])
        if number is None or number <= 0 or len(users) != 1 or users[0].op_type != "LeakyRelu":
            continue
        readers = graph.users(users[0].output[0])
        if not readers or any(
            r.op_type not in ("Conv", "ConvTranspose") or graph.value(r.input[1]) is None for r in readers
        ):
            continue
        factor = 1 / number if node.op_type == "Div" else number
        for reader in readers:
            weight = graph.constants[reader.input[1]]
            reader.input[1] = graph.constant((weight * factor).astype(weight.dtype))
        graph.replace(node.output[0], node.input[0])


def replace_upsampling(graph: Graph, node: onnx.NodeProto) -> None:
    """Compute the `stride` outputs between two inputs as channels, then read channels as time.

    Output n of a transposed convolution is the sum of x[i] · w[n + pad - stride · i]: as n runs through a
    block of `stride`, the same few x meet neighbouring columns of w. The first `pad` outputs, and what is
    too much at the end, are cropped.
    """
    options = attributes(node)
    weight = graph.constants[node.input[1]]
    inputs, outputs, _, kernel = weight.shape
    stride, before, after = (
        _last(options, key, place) for key, place in (("strides", 1), ("pads", 1), ("pads", 3))
    )
    taps = -(-kernel // stride)
    too_many = stride * taps - kernel + after - _last(options, "output_padding", 1)
    plain = options.get("group", 1) == 1 and _last(options, "dilations", 1) in (0, 1)
    if not plain or too_many < 0 or stride < 2:
        return
    padded = np.zeros((inputs, outputs, taps * stride), weight.dtype)
    padded[:, :, :kernel] = weight[:, :, 0]
    # [in, out, tap, phase] → [phase, out, in, tap], the taps backwards: tap 0 belongs to the newest input
    phases = padded.reshape(inputs, outputs, taps, stride).transpose(3, 1, 0, 2)[..., ::-1]
    weights = graph.constant(np.ascontiguousarray(phases).reshape(stride * outputs, inputs, 1, taps))
    bias = [graph.constant(np.tile(graph.constants[node.input[2]], stride))] if len(node.input) > 2 else []
    wide = graph.add(
        "Conv",
        [node.input[0], weights, *bias],
        {"kernel_shape": [1, taps], "pads": [0, taps - 1, 0, taps - 1]},
    )
    last = graph.add("Transpose", [wide], {"perm": [0, 2, 3, 1]})
    long = graph.add("Reshape", [last, graph.constant(np.asarray([0, 1, -1, outputs]))])
    if before or too_many:
        end = -too_many if too_many else np.iinfo(np.int64).max
        crop = [graph.constant(np.asarray([value])) for value in (before, end, 2)]
        long = graph.add("Slice", [long, *crop])
    graph.replace(node.output[0], graph.add("Transpose", [long], {"perm": [0, 3, 1, 2]}))


def block_last(graph: Graph, node: onnx.NodeProto) -> None:
    """Compute 16 neighbouring samples of a one-channel output as 16 channels of a strided convolution."""
    options = attributes(node)
    weight = graph.constants[node.input[1]]
    outputs, inputs, height, kernel = weight.shape
    shapes = infer_shapes(graph)
    shape = shapes.of.get(node.output[0], ())
    size = shape[-1] if len(shape) == 4 else None
    pads = [_last(options, "pads", place) for place in (1, 3)]
    plain = outputs == height == 1 and options.get("group", 1) == 1 and sum(pads) == kernel - 1
    plain = plain and _last(options, "dilations", 1) in (0, 1) and _last(options, "strides", 1) in (0, 1)
    if not plain or size is None or size.scale % BLOCK or size.offset % BLOCK or not size.axis:
        return
    weights = np.zeros((BLOCK, inputs, 1, kernel + BLOCK - 1), weight.dtype)
    for place in range(BLOCK):
        weights[place, :, 0, place : place + kernel] = weight[0, :, 0]
    bias = [graph.constant(np.tile(graph.constants[node.input[2]], BLOCK))] if len(node.input) > 2 else []
    wide = graph.add(
        "Conv",
        [node.input[0], graph.constant(weights), *bias],
        {
            "kernel_shape": [1, kernel + BLOCK - 1],
            "strides": [1, BLOCK],
            "pads": [0, pads[0], 0, pads[1]],
        },
    )
    activations = graph.users(node.output[0])
    if len(activations) == 1 and activations[0].op_type == "Tanh":
        wide = graph.add("Tanh", [wide])
        node = activations[0]
    last = graph.add("Transpose", [wide], {"perm": [0, 2, 3, 1]})
    graph.replace(node.output[0], graph.add("Reshape", [last, graph.constant(np.asarray([0, 1, 1, -1]))]))


def anchor_activation(graph: Graph, node: onnx.NodeProto) -> None:
    """Let a LeakyRelu stand behind a convolution of its own, unless it stands alone behind one already.

    Where its input comes out of a layout change and is used again (a residual), both uses read an identity
    first: the sums then stay in the blocked layout too.
    """
    maker = graph.producer(node.input[0])
    if maker is None or (maker.op_type == "Conv" and len(graph.users(node.input[0])) == 1):
        return
    shape = infer_shapes(graph).of.get(node.input[0], ())
    channels = shape[1].known if len(shape) == 4 and shape[1] else None
    if channels is None or channels % BLOCK:
        return
    others = [user for user in graph.users(node.input[0]) if user is not node]
    if maker.op_type == "Transpose" and others:
        old = node.input[0]
        readers = graph.users(old)
        new = _identity(graph, old, channels)
        for reader in readers:
            reader.input[:] = [new if name == old else name for name in reader.input]
        graph.changed()
    node.input[0] = _identity(graph, node.input[0], channels)
    graph.changed()


def _identity(graph: Graph, tensor: str, channels: int) -> str:
    ones = graph.constant(np.ones((channels, 1, 1, 1), np.float32))
    return graph.add("Conv", [tensor, ones], {"kernel_shape": [1, 1], "group": channels})


def _last(options: Mapping[str, object], key: str, place: int) -> int:
    """Return one entry of a list attribute; 0 where it is not set."""
    value = options.get(key)
    return int(value[place]) if isinstance(value, list) else 0
