"""Compute which input steps an output step needs, exactly, by carrying an interval back through the graph."""

from dataclasses import dataclass
from math import prod

import onnx

from voxstack.importers.graphs.graph import Graph, attribute, attributes
from voxstack.importers.graphs.shape_rules import ELEMENTWISE
from voxstack.importers.graphs.shapes import infer_shapes
from voxstack.importers.graphs.sizes import Shape, Shapes

__all__ = ["Reach", "measure_reach"]

Interval = tuple[int, int]
MIDDLE = 1 << 20  # an input step far from both ends


@dataclass(frozen=True)
class Reach:
    """Say how far a net looks along its ragged axis; `obstacle` tells why it cannot be cut into windows."""

    context: tuple[int, int]
    hop: int
    obstacle: str | None = None


def measure_reach(graph: Graph, axis: str) -> Reach:
    """Return context and hop along the free axis `axis`, for a net whose outputs all have it.

    Takes: the steps [hop · m, hop · m + hop) of every output, which belong to input step m, back to the
    inputs. An operator that mixes the whole axis (a mean over it, attention, an LSTM), or that is not known
    to keep steps apart, is an obstacle.
    """
    shapes = infer_shapes(graph)
    hops = {
        size.scale
        for edge in graph.outputs
        for size in shapes.of.get(edge.name, ())
        if size and size.axis == axis
    }
    if len(hops) != 1:
        return Reach((0, 0), 1, f"outputs have {sorted(hops)} steps per step of '{axis}', want one number")
    hop = hops.pop()
    wanted: dict[str, Interval] = {
        edge.name: (MIDDLE * hop, MIDDLE * hop + hop - 1) for edge in graph.outputs
    }
    for node in reversed(graph.nodes):
        spans = [wanted[name] for name in node.output if name in wanted]
        span = (min(low for low, _ in spans), max(high for _, high in spans)) if spans else None
        for place, name in enumerate(node.input):
            if span is None or not name or name in graph.constants:
                continue
            back = _needed(graph, shapes, node, place, axis, span)
            if isinstance(back, str):
                return Reach((0, 0), hop, back)
            if back is not None:
                low, high = wanted.get(name, back)
                wanted[name] = (min(low, back[0]), max(high, back[1]))
    spans = [span for edge in graph.inputs if (span := wanted.get(edge.name)) is not None]
    if not spans:
        return Reach((0, 0), hop, f"no input has '{axis}'")
    return Reach((max(MIDDLE - low for low, _ in spans), max(high - MIDDLE for _, high in spans)), hop)


def _needed(
    graph: Graph, shapes: Shapes, node: onnx.NodeProto, place: int, axis: str, span: Interval
) -> Interval | str | None:
    """Return the steps of an input that a node needs; None if it has none; a sentence if nobody can say."""
    name = node.input[place]
    if name not in shapes.of:
        return f"the shape of {node.op_type}'s input is not known"
    if not _is_ragged(shapes, name, axis):
        mixed = node.op_type == "Shape" or _depends(graph, shapes, name, axis)
        return f"{node.op_type} reads something computed from the whole of '{axis}'" if mixed else None
    return _back(graph, shapes, node, place, axis, span) or f"{node.op_type} may mix steps of '{axis}'"


def _is_ragged(shapes: Shapes, tensor: str, axis: str) -> bool:
    return any(size is None or size.axis == axis for size in shapes.of[tensor])


def _depends(graph: Graph, shapes: Shapes, tensor: str, axis: str) -> bool:
    """Say whether a tensor without the axis was computed from one with it."""
    read = {name for node in graph.ancestors(tensor) for name in node.input if name}
    return any(name in shapes.of and _is_ragged(shapes, name, axis) for name in read)


def _place(shapes: Shapes, tensor: str, axis: str) -> int | None:
    """Return where the axis is, counted from the end; None if it is not exactly once there."""
    shape = shapes.of[tensor]
    places = [place - len(shape) for place, size in enumerate(shape) if size is None or size.axis == axis]
    return places[0] if len(places) == 1 and shape[places[0]] is not None else None


def _back(
    graph: Graph, shapes: Shapes, node: onnx.NodeProto, place: int, axis: str, span: Interval
) -> Interval | None:
    """Return the steps of one input that a span of the output needs; None if that cannot be said."""
    data, result = _place(shapes, node.input[place], axis), _out_place(shapes, node, axis)
    if data is None or result is None:
        return None
    kind = node.op_type
    if kind == "Pad" and place == 0:
        return _through_pad(graph, shapes, node, data, span)
    return _back_through(graph, shapes, node, place, span, data, result)


def _back_through(
    graph: Graph, shapes: Shapes, node: onnx.NodeProto, place: int, span: Interval, data: int, result: int
) -> Interval | None:
    """Return what any other operator needs; `data` and `result` tell where the axis is, from the end."""
    kind = node.op_type
    if kind in ELEMENTWISE or kind == "RandomNormalLike":
        return span if data == result else None
    if kind in ("Conv", "ConvTranspose"):
        return _through_conv(graph, node, span) if place == 0 and data == result == -1 else None
    rank = len(shapes.of[node.input[place]])
    if kind in ("Softmax", "LayerNormalization"):
        mixed = attribute(node, "axis")
        mixed = (mixed if isinstance(mixed, int) else -1) % rank - rank
        return span if place == 0 and (data != mixed if kind == "Softmax" else data < mixed) else None
    if kind in (
        "ReduceMean",
        "ReduceSum",
        "ReduceMax",
        "Unsqueeze",
        "Squeeze",
        "Reshape",
        "Split",
        "Concat",
        "Transpose",
    ):
        before, after = shapes.of[node.input[place]], shapes.of[node.output[0]]
        if kind == "Reshape" and _trailing(before, data) != _trailing(after, result):
            return None
        return span if before[data] == after[result] else None
    if kind == "Slice":
        same = shapes.of[node.input[place]][data] == shapes.of[node.output[0]][result]
        return span if same and place == 0 and not _flips(graph, node, rank, data) else None
    if kind == "MatMul":
        return span if (place, data) in ((0, -2), (1, -1)) and data == result else None
    if kind in ("Gather", "GatherElements") and place == 0:
        return span if data + rank != (attribute(node, "axis") or 0) else None
    return None


def _out_place(shapes: Shapes, node: onnx.NodeProto, axis: str) -> int | None:
    return _place(shapes, node.output[0], axis) if node.output[0] in shapes.of else None


def _trailing(shape: Shape, place: int) -> int | None:
    """Return how many elements one step of the axis spans in memory."""
    sizes = [size.known if size else None for size in shape[len(shape) + place + 1 :]]
    return None if None in sizes else prod(size for size in sizes if size is not None)


def _flips(graph: Graph, node: onnx.NodeProto, rank: int, data: int) -> bool:
    """Say whether a Slice turns the axis round; its length alone would not show it."""
    axes = graph.value(node.input[3]) if len(node.input) > 3 else None
    steps = graph.value(node.input[4]) if len(node.input) > 4 else None
    if axes is None:
        return True
    return steps is not None and any(
        int(s) != 1 and int(a) % rank == data + rank for a, s in zip(axes, steps, strict=True)
    )


def _through_pad(
    graph: Graph, shapes: Shapes, node: onnx.NodeProto, data: int, span: Interval
) -> Interval | None:
    """Return what a span needs of the steps inside the padding; what is padded by a value needs none.

    A mirror at an end shows steps from its other side, so there a window must reach as far inwards: both
    ends are looked at as the first and the last step of an utterance meet them.
    """
    shape, pads = shapes.of[node.input[0]], graph.value(node.input[1])
    size = shape[data]
    mode = attribute(node, "mode") or "constant"
    named = len(node.input) > 3 and bool(node.input[3])
    if pads is None or len(pads) != 2 * len(shape) or named or size is None:
        return None
    before, after = int(pads[data + len(shape)]), int(pads[data])
    low, high = span[0] - before, span[1] - before
    if mode == "constant" or before == after == 0:
        return low, high
    if mode != "reflect":
        return None
    first = MIDDLE * size.scale
    last = first + size.scale + size.offset - 1
    return min(low, 2 * last - high), max(high, 2 * first - low)


def _through_conv(graph: Graph, node: onnx.NodeProto, span: Interval) -> Interval | None:
    weight, options = graph.value(node.input[1]), attributes(node)
    if weight is None or weight.ndim != 3:
        return None

    def number(name: str, default: int) -> int:
        value = options.get(name)
        return int(value[0]) if isinstance(value, list) else default

    stride, dilation, pad = number("strides", 1), number("dilations", 1), number("pads", 0)
    reach = dilation * (weight.shape[2] - 1)
    low, high = span
    if node.op_type == "Conv":
        return low * stride - pad, high * stride - pad + reach
    return -((reach - low - pad) // stride), (high + pad) // stride
