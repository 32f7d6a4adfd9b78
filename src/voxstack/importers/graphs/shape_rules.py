"""Say for each operator what shape it gives to what shapes it gets."""

from collections.abc import Callable, Sequence
from math import prod

import onnx

from voxstack.importers.graphs.graph import Constant, Graph, attribute, attributes
from voxstack.importers.graphs.sizes import Shape, Shapes, Size, arithmetic, broadcast

__all__ = ["ELEMENTWISE", "RULES", "SAME_AS_FIRST", "WHOLE", "axes_of", "ints", "shape_part", "split_shapes"]

_ARITHMETIC = ["Abs", "Add", "Div", "Max", "Min", "Mod", "Mul", "Neg", "Reciprocal", "Sub"]
_LOGIC = ["And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "Or", "Where"]
_FUNCTIONS = ["Cast", "Clip", "Ceil", "Cos", "Dropout", "Erf", "Exp", "Floor", "Identity", "Log", "Pow"]
_MORE = ["Round", "Sign", "Sin", "Sqrt"]
_ACTIVATIONS = ["Elu", "Gelu", "HardSigmoid", "LeakyRelu", "PRelu", "Relu", "Sigmoid", "Softplus", "Tanh"]
ELEMENTWISE = frozenset([*_ARITHMETIC, *_LOGIC, *_FUNCTIONS, *_MORE, *_ACTIVATIONS])
SAME_AS_FIRST = frozenset(
    ["CumSum", "LayerNormalization", "LogSoftmax", "RandomNormalLike", "ScatterND", "Softmax", "Trilu"]
)
WHOLE = 2**31 - 1
"""An end of a slice that is at least this means: to the end."""


def ints(value: object) -> list[int]:
    """Return an attribute that should be a list of numbers; [] where it is not."""
    return [int(item) for item in value] if isinstance(value, list) else []


def each(value: object, rank: int, default: int) -> list[int]:
    return ints(value) or [default] * rank


def axes_of(graph: Graph, node: onnx.NodeProto) -> list[int] | None:
    """Return the axes that an operator names, as an input or as an attribute."""
    value = graph.value(node.input[1]) if len(node.input) > 1 else None
    if value is not None:
        return [int(item) for item in value.reshape(-1)]
    named = attribute(node, "axes")
    return [int(item) for item in named] if isinstance(named, list) else None


def shape_part(node: onnx.NodeProto) -> slice:
    """Return which axes a Shape tells the sizes of."""
    start, end = attribute(node, "start"), attribute(node, "end")
    return slice(start if isinstance(start, int) else None, end if isinstance(end, int) else None)


def _conv(graph: Graph, shapes: Shapes, node: onnx.NodeProto) -> Shape | None:
    data, weight = shapes.of[node.input[0]], graph.value(node.input[1])
    options = attributes(node)
    if weight is None or options.get("auto_pad", "NOTSET") != "NOTSET":
        return None
    rank = weight.ndim - 2
    kernels = weight.shape[2:]
    strides, dilations = each(options.get("strides"), rank, 1), each(options.get("dilations"), rank, 1)
    pads, extra = each(options.get("pads"), 2 * rank, 0), each(options.get("output_padding"), rank, 0)
    group = options.get("group", 1)
    up = node.op_type == "ConvTranspose"
    channels = weight.shape[1] * (group if isinstance(group, int) else 1) if up else weight.shape[0]
    result: list[Size | None] = [data[0], Size.number(channels)]
    for place in range(rank):
        size = data[place + 2]
        reach = dilations[place] * (kernels[place] - 1)
        both = pads[place] + pads[place + rank]
        if size is None:
            result.append(None)
        elif up:
            stride = strides[place]
            offset = (size.offset - 1) * stride + reach + 1 + extra[place] - both
            result.append(Size(size.axis, size.scale * stride, offset))
        else:
            span = Size(size.axis, size.scale, size.offset + both - reach - 1)
            result.append(_divide(span, strides[place]))
    return tuple(result)


def _divide(size: Size, stride: int) -> Size | None:
    if stride == 1 or not size.axis:
        return Size(size.axis, size.scale, size.offset // stride + 1)
    return None


def _matmul(_: Graph, shapes: Shapes, node: onnx.NodeProto) -> Shape | None:
    left, right = shapes.of[node.input[0]], shapes.of.get(node.input[1])
    if right is None or len(left) < 2 or len(right) < 2:
        return None
    lead = broadcast([left[:-2], right[:-2]])
    return None if lead is None else (*lead, left[-2], right[-1])


def _transpose(_: Graph, shapes: Shapes, node: onnx.NodeProto) -> Shape | None:
    data = shapes.of[node.input[0]]
    return tuple(data[place] for place in ints(attribute(node, "perm")) or reversed(range(len(data))))


def _unsqueeze(graph: Graph, shapes: Shapes, node: onnx.NodeProto) -> Shape | None:
    data, axes = list(shapes.of[node.input[0]]), axes_of(graph, node)
    if axes is None:
        return None
    rank = len(data) + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        data.insert(axis, Size.number(1))
    return tuple(data)


def _squeeze(graph: Graph, shapes: Shapes, node: onnx.NodeProto) -> Shape | None:
    data, axes = shapes.of[node.input[0]], axes_of(graph, node)
    gone = {axis % len(data) for axis in axes or []} if data else set[int]()
    return tuple(size for place, size in enumerate(data) if place not in gone) if axes else None


def _reduce(graph: Graph, shapes: Shapes, node: onnx.NodeProto) -> Shape | None:
    data, axes = shapes.of[node.input[0]], axes_of(graph, node)
    if not axes:
        return None
    gone = {axis % len(data) for axis in axes}
    if attribute(node, "keepdims") == 0:
        return tuple(size for place, size in enumerate(data) if place not in gone)
    return tuple(Size.number(1) if place in gone else size for place, size in enumerate(data))


def _reshape(_: Graph, shapes: Shapes, node: onnx.NodeProto) -> Shape | None:
    data, target = shapes.of[node.input[0]], shapes.sizes(node.input[1])
    if target is None:
        return None
    zero, rest = Size.number(0), Size.number(-1)
    stays = not attribute(node, "allowzero")
    result = [
        data[place] if stays and size == zero and place < len(data) else size
        for place, size in enumerate(target)
    ]
    if rest not in result:
        return tuple(result)
    before, after = list(data), [size for size in result if size != rest]
    for size in list(after):
        if size in before:
            before.remove(size)
            after.remove(size)
    return tuple(_quotient(before, after) if size == rest else size for size in result)


def _quotient(before: Sequence[Size | None], after: Sequence[Size | None]) -> Size | None:
    """Return the size that is left for -1: what went in over what the other axes take."""
    free = [size for size in before if size is None or size.known is None]
    if len(free) > 1 or None in free or any(size is None or not size.known for size in after):
        return None
    many = prod(size.known for size in before if size is not None and size.known is not None)
    few = prod(size.known for size in after if size is not None and size.known is not None)
    if not free:
        return Size.number(many // few)
    size = free[0]
    if size is None or (size.scale * many) % few or (size.offset * many) % few:
        return None
    return Size(size.axis, size.scale * many // few, size.offset * many // few)


def _concat(_: Graph, shapes: Shapes, node: onnx.NodeProto) -> Shape | None:
    parts = [shapes.of.get(name) for name in node.input]
    axis = attribute(node, "axis")
    if any(part is None for part in parts) or not isinstance(axis, int):
        return None
    known = [part for part in parts if part is not None]
    axis %= len(known[0])
    total: Size | None = Size.number(0)
    for part in known:
        size = part[axis]
        total = total.plus(size) if total is not None and size is not None else None
    return (*known[0][:axis], total, *known[0][axis + 1 :])


def _gather(graph: Graph, shapes: Shapes, node: onnx.NodeProto) -> Shape | None:
    data, places = shapes.of[node.input[0]], shapes.of.get(node.input[1])
    axis = attribute(node, "axis") or 0
    if places is None or not isinstance(axis, int):
        return None
    axis %= len(data)
    return (*data[:axis], *places, *data[axis + 1 :])


def _pad(_: Graph, shapes: Shapes, node: onnx.NodeProto) -> Shape | None:
    data, pads = shapes.of[node.input[0]], shapes.sizes(node.input[1])
    if pads is None or len(pads) != 2 * len(data):
        return None
    result: list[Size | None] = []
    for place, size in enumerate(data):
        both = arithmetic("Add", pads[place], pads[place + len(data)])
        result.append(arithmetic("Add", size, both))
    return tuple(result)


def _slice(graph: Graph, shapes: Shapes, node: onnx.NodeProto) -> Shape | None:
    data = list(shapes.of[node.input[0]])
    starts, ends = (shapes.sizes(name) for name in node.input[1:3])
    axes = shapes.sizes(node.input[3]) if len(node.input) > 3 else None
    steps = graph.value(node.input[4]) if len(node.input) > 4 else None
    if starts is None or ends is None:
        return None
    places = [axis.offset % len(data) for axis in axes if axis] if axes else range(len(starts))
    for number, place in enumerate(places):
        step = int(steps[number]) if steps is not None else 1
        data[place] = _sliced(data[place], starts[number], ends[number], step)
    return tuple(data)


def _sliced(size: Size | None, start: Size | None, end: Size | None, step: int) -> Size | None:
    if size is None or start is None or end is None:
        return None
    first, last = start.known, end.known
    if step == -1:
        return size if first == -1 and last is not None and last < -WHOLE else None
    if step != 1 or first is None:
        return None
    if size.known is not None and last is not None:
        return Size.number(len(range(size.known)[first:last]))
    if first < 0:
        return Size.number(-first) if last is not None and last >= WHOLE else None
    if last is not None and (last < 0 or last >= WHOLE):
        return Size(size.axis, size.scale, size.offset - first + (min(0, last)))
    return arithmetic("Sub", end, start) if size.axis and end.axis == size.axis else None


def split_shapes(graph: Graph, shapes: Shapes, node: onnx.NodeProto) -> None:
    """Note the shapes of a Split's outputs."""
    data, axis = shapes.of.get(node.input[0]), attribute(node, "axis") or 0
    sizes: Constant | None = graph.value(node.input[1]) if len(node.input) > 1 else None
    if data is None or not isinstance(axis, int):
        return
    axis %= len(data)
    for place, name in enumerate(node.output):
        part = data[axis]
        if sizes is not None:
            part = Size.number(int(sizes[place]))
        elif part is not None:
            part = Size.number(part.known // len(node.output)) if part.known is not None else None
        shapes.of[name] = (*data[:axis], part, *data[axis + 1 :])


def _pool(_: Graph, shapes: Shapes, node: onnx.NodeProto) -> Shape | None:
    data = shapes.of[node.input[0]]
    return (*data[:2], *[Size.number(1)] * (len(data) - 2))


def _tile(_: Graph, shapes: Shapes, node: onnx.NodeProto) -> Shape | None:
    repeats = shapes.sizes(node.input[1])
    if repeats is None:
        return None
    pairs = zip(shapes.of[node.input[0]], repeats, strict=True)
    return tuple(arithmetic("Mul", size, repeat) for size, repeat in pairs)


def _from_values(_: Graph, shapes: Shapes, node: onnx.NodeProto) -> Shape | None:
    return shapes.sizes(node.input[-1])


def _shape(_: Graph, shapes: Shapes, node: onnx.NodeProto) -> Shape | None:
    return (Size.number(len(shapes.of[node.input[0]][shape_part(node)])),)


def _range(_: Graph, shapes: Shapes, node: onnx.NodeProto) -> Shape | None:
    start, limit, step = (shapes.sizes(name) for name in node.input)
    if start is None or limit is None or step is None or step[0] != Size.number(1):
        return None
    return (arithmetic("Sub", limit[0], start[0]),)


def _like_index(_: Graph, shapes: Shapes, node: onnx.NodeProto) -> Shape | None:
    return shapes.of.get(node.input[1])


def _expand(_: Graph, shapes: Shapes, node: onnx.NodeProto) -> Shape | None:
    return broadcast([shapes.of[node.input[0]], shapes.sizes(node.input[1])])


RULES: dict[str, Callable[[Graph, Shapes, onnx.NodeProto], Shape | None]] = {
    "Concat": _concat,
    "ConstantOfShape": _from_values,
    "Conv": _conv,
    "ConvTranspose": _conv,
    "Expand": _expand,
    "Gather": _gather,
    "GatherElements": _like_index,
    "GlobalAveragePool": _pool,
    "MatMul": _matmul,
    "Pad": _pad,
    "Range": _range,
    "ReduceMax": _reduce,
    "ReduceMean": _reduce,
    "ReduceProd": _reduce,
    "ReduceSum": _reduce,
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
