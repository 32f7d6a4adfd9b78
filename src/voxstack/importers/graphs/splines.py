"""Replace exported rational-quadratic splines by a dense form: same numbers, shapes known beforehand.

A stochastic duration predictor bends its noise by splines. PyTorch writes one as "pick the elements inside
the tails (NonZero), look their bin up (Gather), put them back (ScatterND)": sizes then depend on data,
which neither fixed-shape hardware nor a planner can live with. The dense form computes every element, picks
bins by a one-hot product and tails by Where.
"""

from dataclasses import dataclass

import numpy as np
import onnx

from voxstack.core.errors import ImporterError
from voxstack.importers.graphs.graph import Graph, attribute
from voxstack.importers.graphs.shapes import infer_shapes
from voxstack.importers.graphs.sizes import Shapes

__all__ = ["straighten_splines"]

DYNAMIC = ("NonZero", "ScatterND", "GatherND", "If", "Loop")


@dataclass(frozen=True)
class Spline:
    """Hold what was found of one spline: its tensors, and the constants of its parametrisation.

    values   what is bent, [..., steps]; beyond ± tail it stays as it is
    knots    unnormalised bin sizes on the side that `values` are looked up on, [..., steps, bins]
    images   the same on the other side
    slopes   unnormalised slopes at the inner knots, [..., steps, bins - 1]
    result   the tensor to replace
    """

    values: str
    knots: str
    images: str
    slopes: str
    result: str
    tail: float
    bins: int
    rank: int
    least_bin: float
    least_slope: float
    edge_slope: float


def straighten_splines(graph: Graph) -> int:
    """Replace all splines in place and return how many there were.

    Raises: ImporterError if something remains whose size depends on data.
    """
    shapes = infer_shapes(graph)
    found = [_find(graph, shapes, node) for node in graph.nodes if node.op_type == "And"]
    for spline in found:
        graph.replace(spline.result, _dense(graph, spline))
    graph.prune()
    left = sorted({node.op_type for node in graph.nodes} & set(DYNAMIC))
    if left:
        raise ImporterError(
            f"the duration net keeps {left}, whose sizes depend on data; its splines are of no known form"
        )
    return len(found)


def _find(graph: Graph, shapes: Shapes, inside: onnx.NodeProto) -> Spline:
    """Read a spline off the test "inside the tails" that begins it."""
    low, high = (graph.producer(name) for name in inside.input)
    if low is None or high is None or low.input[0] != high.input[0]:
        raise ImporterError("a duration spline's tails are not tested on one tensor")
    tail = graph.scalar(high.input[1])
    places = [user for user in graph.users(inside.output[0]) if user.op_type == "NonZero"]
    below = _below(graph, [node.output[0] for node in places])
    picked = [node for node in below if node.op_type == "GatherND"]
    back = [
        node
        for node in below
        if node.op_type == "ScatterND"
        and _has(graph, node.input[2], "Softmax")
        and _has(graph, node.input[1], "NonZero")
    ]
    searches = [node for node in below if node.op_type in ("GreaterOrEqual", "LessOrEqual")]
    softmaxes = [node for node in below if node.op_type == "Softmax"]
    softplus = [node for node in below if node.op_type == "Softplus"]
    if tail is None or len(searches) != 1 or len(softmaxes) != 2 or len(softplus) != 1 or not back:
        raise ImporterError("a duration spline is not rational-quadratic with two softmaxes and a softplus")
    searched = {
        id(node) for name in searches[0].input for node in graph.ancestors(name) if node.op_type == "Softmax"
    }
    knots, images = sorted(softmaxes, key=lambda node: id(node) not in searched)
    padded = _gathered(graph, softplus[0], picked)
    edge: float | None = None
    while (node := graph.producer(padded)) is not None and node.op_type == "ScatterND":
        edge = _filled_value(graph, node.input[2]) if edge is None else edge
        padded = node.input[0]
    if node is None or node.op_type != "Pad" or edge is None:
        raise ImporterError("a duration spline's outer slopes are not a padded constant")
    sizes = shapes.of.get(node.input[0], ())
    inner = sizes[-1].known if sizes and sizes[-1] else None
    least_bin, least_slope = _added(graph, knots), _added(graph, softplus[0])
    if inner is None:
        raise ImporterError("a duration spline's number of bins is not known")
    return Spline(
        values=low.input[0],
        knots=_gathered(graph, knots, picked),
        images=_gathered(graph, images, picked),
        slopes=node.input[0],
        result=_last(graph, back),
        tail=tail,
        bins=inner + 1,
        rank=len(sizes),
        least_bin=least_bin,
        least_slope=least_slope,
        edge_slope=least_slope + float(np.logaddexp(0.0, edge)),
    )


def _below(graph: Graph, tensors: list[str]) -> list[onnx.NodeProto]:
    """Return what depends on tensors, up to where data is put back in place."""
    found: list[onnx.NodeProto] = []
    waiting = list(tensors)
    while waiting:
        for node in graph.users(waiting.pop()):
            if all(node is not other for other in found):
                found.append(node)
                places_back = node.op_type == "ScatterND" and _has(graph, node.input[1], "NonZero")
                waiting += [] if places_back else node.output
    return found


def _has(graph: Graph, tensor: str, op: str) -> bool:
    return any(node.op_type == op for node in graph.ancestors(tensor))


def _gathered(graph: Graph, node: onnx.NodeProto, picked: list[onnx.NodeProto]) -> str:
    """Return the dense tensor whose picked elements a node reads."""
    maker = graph.producer(node.input[0])
    if maker is None or all(maker is not other for other in picked):
        raise ImporterError(f"a duration spline's {node.op_type} does not read picked elements")
    return maker.input[0]


def _last(graph: Graph, back: list[onnx.NodeProto]) -> str:
    """Return the result that is not itself written to again."""
    for node in back:
        again = [user for user in graph.users(node.output[0]) if user.op_type == "ScatterND"]
        if not again:
            return node.output[0]
        if all(user.op_type == "ScatterND" for user in graph.users(node.output[0])):
            return again[-1].output[0]
    raise ImporterError("a duration spline's result is not put back in place")


def _filled_value(graph: Graph, tensor: str) -> float | None:
    """Return the value that a tensor made by Expand, Reshape and ConstantOfShape is filled with."""
    node = graph.producer(tensor)
    while node is not None and node.op_type in ("Expand", "Reshape"):
        tensor = node.input[0]
        node = graph.producer(tensor)
    if node is None:
        return graph.scalar(tensor)
    value = attribute(node, "value") if node.op_type == "ConstantOfShape" else None
    return float(onnx.numpy_helper.to_array(value).flat[0]) if isinstance(value, onnx.TensorProto) else None


def _added(graph: Graph, node: onnx.NodeProto) -> float:
    """Return the least size: the constant added to a (scaled) softmax or to a softplus."""
    tensor = node.output[0]
    for _ in range(2):
        for user in graph.users(tensor):
            numbers = [number for name in user.input if (number := graph.scalar(name)) is not None]
            if user.op_type == "Add" and numbers:
                return numbers[0]
            if user.op_type == "Mul":
                tensor = user.output[0]
    raise ImporterError("a duration spline has no least bin size or slope")


def _dense(graph: Graph, spline: Spline) -> str:
    """Build the inverse of a rational-quadratic spline for all elements; return its output.

    Source: Durkan et al. 2019, Neural Spline Flows, equations 6-8, solved for x as in its appendix A.1.
    """
    bins, tail = spline.bins, spline.tail

    def number(value: float) -> str:
        return graph.constant(np.asarray(value, np.float32))

    def axis(*places: int) -> str:
        return graph.constant(np.asarray(places, np.int64))

    def op(kind: str, *inputs: str) -> str:
        return graph.add(kind, inputs)

    def part(tensor: str, start: int, end: int) -> str:
        return op("Slice", tensor, axis(start), axis(end), axis(-1))

    # Column k sums the bins before knot k; the outer knots are pinned to ± tail.
    sums = np.triu(np.ones((bins, bins + 1)), 1) * 2 * tail
    sums[:, -1] = 0
    ends = np.full(bins + 1, -tail)
    ends[-1] = tail

    def edges(raw: str) -> tuple[str, str]:
        """Return each bin's lower end and size."""
        softmax = graph.add("Softmax", [raw], {"axis": -1})
        sizes = op("Add", op("Mul", softmax, number(1 - spline.least_bin * bins)), number(spline.least_bin))
        product = op("MatMul", sizes, graph.constant(sums.astype(np.float32)))
        knots = op("Add", product, graph.constant(ends.astype(np.float32)))
        lower = part(knots, 0, bins)
        return lower, op("Sub", part(knots, 1, bins + 1), lower)

    clipped = op("Clip", spline.values, number(-tail), number(tail))
    knot, knot_size = edges(spline.knots)
    image, image_size = edges(spline.images)
    reached = op("GreaterOrEqual", op("Unsqueeze", clipped, axis(-1)), knot)
    reached = graph.add("Cast", [reached], {"to": onnx.TensorProto.FLOAT})
    # 1 1 1 0 0 → 0 0 1 0 0: the last bin whose lower end is reached
    one_hot = op("MatMul", reached, graph.constant((np.eye(bins) - np.eye(bins, k=-1)).astype(np.float32)))

    def pick(tensor: str) -> str:
        return graph.add("ReduceSum", [op("Mul", tensor, one_hot), axis(-1)], {"keepdims": 0})

    inner = op("Add", op("Softplus", spline.slopes), number(spline.least_slope))
    pads = [0] * (2 * spline.rank)
    pads[spline.rank - 1] = pads[-1] = 1
    slopes = op("Pad", inner, axis(*pads), number(spline.edge_slope))
    below, above = pick(part(slopes, 0, bins)), pick(part(slopes, 1, bins + 1))
    size, width = pick(knot_size), pick(image_size)
    mean = op("Div", size, width)
    rise = op("Sub", clipped, pick(knot))
    bend = op("Mul", rise, op("Sub", op("Add", below, above), op("Mul", mean, number(2))))
    a = op("Add", bend, op("Mul", size, op("Sub", mean, below)))
    b = op("Sub", op("Mul", size, below), bend)
    c = op("Neg", op("Mul", mean, rise))
    square = op("Sub", op("Mul", b, b), op("Mul", op("Mul", a, number(4)), c))
    root = op("Sqrt", op("Max", square, number(0)))  # rounding may bring a square below 0 at a knot
    share = op("Div", op("Mul", c, number(2)), op("Sub", op("Neg", b), root))
    bent = op("Add", op("Mul", share, width), pick(image))
    return op("Where", op("Equal", clipped, spline.values), bent, spline.values)
