"""Read an ONNX Loop: what it carries from step to step, and what it collects, one piece a step."""

from collections.abc import Sequence
from dataclasses import dataclass

import onnx
from onnx import helper

from voxstack.core.errors import ImporterError
from voxstack.importers.graphs.captures import inner_graphs
from voxstack.importers.graphs.graph import Graph, attribute

__all__ = ["BY_SHAPE", "Carried", "Collected", "LoopBody", "find_loop", "growth", "read_body"]

WRITES = ("Concat", "ScatterElements", "ScatterND", "Where")

BY_SHAPE = -1
"""An axis that only the shapes of piece and whole tell: where one is 1 and the other more."""


@dataclass(frozen=True)
class Carried:
    """A value that a loop carries: its names in the body before and after a step, and outside."""

    before: str
    after: str
    first: str
    last: str


@dataclass(frozen=True)
class Collected:
    """What a loop collects, a piece each step.

    piece   its name in the body
    whole   its name after the loop
    joined  the axis along which pieces lie one behind another in the whole; None: a new axis in front
    buffer  what it began with outside, where each step writes into it
    """

    piece: str
    whole: str
    joined: int | None = None
    buffer: str | None = None


@dataclass(frozen=True)
class LoopBody:
    """A Loop, taken apart.

    graph      the body: inputs `index` and what is carried
    index      the step's number, from 0
    goes_on    the body's tensor that says whether another step follows
    most       how many steps there may be, as the model says it; None: as many as it wants
    """

    graph: Graph
    index: str
    goes_on: str
    carried: tuple[Carried, ...]
    collected: tuple[Collected, ...]
    most: int | None


def find_loop(main: Graph) -> onnx.NodeProto:
    """Return the Loop over frames: the one that decides from what it computes when to stop.

    A Loop over the symbols of a text (an LSTM) knows before its first step how many there are. If no Loop
    decides so, the only Loop there is.

    Raises:   ImporterError if there is none, or more than one
    """
    loops = [node for node in main.nodes if node.op_type == "Loop"]
    if not loops:
        raise ImporterError("has no Loop operator; want a decoder that makes frames step by step")
    deciding = [node for node in loops if _decides(main, node)]
    found = deciding or loops
    if len(found) > 1:
        raise ImporterError(f"has {len(found)} Loops that could make frames, want one")
    return found[0]


def read_body(main: Graph, node: onnx.NodeProto) -> LoopBody:
    """Take a closed Loop (see `captures`) apart.

    Raises:   ImporterError if there is a loop inside the loop, or it carries what cannot be understood
    """
    (proto,) = inner_graphs(node)
    for inner in proto.node:
        for _ in inner_graphs(inner):
            raise ImporterError(f"the Loop's body holds a {inner.op_type} of its own; want plain operators")
    firsts, lasts = list(node.input[2:]), list(node.output)
    inputs, outputs = list(proto.input), list(proto.output)
    collected: list[Collected] = []
    for place in reversed(range(len(firsts))):
        if inputs[2 + place].type.HasField("sequence_type"):
            collected += _sequence(main, proto, inputs[2 + place].name, outputs[1 + place].name, lasts[place])
            for items, skip in ((firsts, 0), (inputs, 2), (outputs, 1), (lasts, 0)):
                del items[place + skip]
    graph = _graph(proto, inputs, outputs, main.opset)
    names = [_source(graph, value.name) for value in outputs]
    count = len(firsts)
    rows = zip(inputs[2:], names[1 : 1 + count], firsts, lasts[:count], strict=True)
    carried = [Carried(value.name, after, first, last) for value, after, first, last in rows]
    kept: list[Carried] = []
    for item in carried:
        written = _written(graph, item, inputs[0].name, carried)
        if written is None:
            kept.append(item)
        else:
            collected.append(written)
    collected += [
        Collected(piece, whole) for piece, whole in zip(names[1 + count :], lasts[count:], strict=True)
    ]
    most = main.scalar(node.input[0]) if node.input[0] else None
    return LoopBody(
        graph=graph,
        index=inputs[0].name,
        goes_on=names[0],
        carried=tuple(kept),
        collected=tuple(collected),
        most=int(most) if most is not None and most < 2**31 else None,
    )


def _graph(
    proto: onnx.GraphProto,
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    opset: int,
) -> Graph:
    body = onnx.GraphProto()
    body.CopyFrom(proto)
    del body.input[:], body.output[:]
    body.input.extend(inputs)
    body.output.extend(outputs)
    return Graph.read(helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)]))


def _decides(main: Graph, node: onnx.NodeProto) -> bool:
    """Say whether a Loop's condition hangs on floats that it makes, and not on its counters alone."""
    (proto,) = inner_graphs(node)
    floats = ("MatMul", "Gemm", "Conv", "Sigmoid", "Softmax", "Tanh", "LSTM", "GRU")
    makers = {name: inner for inner in proto.node for name in inner.output}
    after = {value.name: inner.name for value, inner in zip(proto.input[2:], proto.output[1:], strict=False)}
    todo, seen = [proto.output[0].name], set[str]()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        inner = makers.get(name)
        if inner is not None and inner.op_type in floats:
            return True
        todo += list(inner.input) if inner is not None else [after[name]] if name in after else []
    return False


def _source(graph: Graph, tensor: str) -> str:
    """Return where a tensor comes from before any Identity."""
    maker = graph.producer(tensor)
    while maker is not None and maker.op_type == "Identity":
        tensor = maker.input[0]
        maker = graph.producer(tensor)
    return tensor


def _sequence(main: Graph, proto: onnx.GraphProto, before: str, after: str, last: str) -> list[Collected]:
    """Take a sequence out of the body that grows by one tensor a step."""
    users = [node for node in proto.node if before in node.input]
    if len(users) != 1 or users[0].op_type != "SequenceInsert" or users[0].output[0] != after:
        raise ImporterError(
            "the Loop carries a sequence that it does more with than to append a tensor to it"
        )
    if len(users[0].input) > 2 and users[0].input[2]:
        raise ImporterError("the Loop inserts into a sequence elsewhere than at its end")
    piece = users[0].input[1]
    proto.node.remove(users[0])
    readers = main.users(last)
    found: list[Collected] = []
    for reader in readers:
        if reader.op_type != "ConcatFromSequence":
            raise ImporterError(f"after the Loop a {reader.op_type} reads the sequence that it collected")
        axis = attribute(reader, "axis")
        assert isinstance(axis, int)
        new = attribute(reader, "new_axis") == 1
        if new and axis != 0:
            raise ImporterError("after the Loop its sequence is stacked along another axis than the first")
        found.append(Collected(piece, reader.output[0], None if new else axis))
    return found


def _written(graph: Graph, item: Carried, index: str, carried: Sequence[Carried]) -> Collected | None:
    """Recognise a buffer that each step writes one piece to and nothing else reads."""
    users = graph.users(item.before)
    if len(users) != 1 or users[0].op_type not in WRITES or users[0].output[0] != item.after:
        return None
    node = users[0]
    counts = {index} | {other.before for other in carried if growth(graph, other) is not None}
    if node.op_type == "Concat":
        axis = attribute(node, "axis")
        if len(node.input) != 2 or node.input[0] != item.before or not isinstance(axis, int) or axis < 0:
            return None
        return Collected(node.input[1], item.last, axis)
    if node.op_type in ("ScatterND", "ScatterElements"):
        axis = attribute(node, "axis") or 0
        plain = node.input[0] == item.before and graph.sources(node.input[1]) <= counts
        return Collected(node.input[2], item.last, axis if isinstance(axis, int) else 0) if plain else None
    if node.input[2] != item.before or not graph.sources(node.input[0]) <= counts:
        return None
    return Collected(node.input[1], item.last, BY_SHAPE, item.first)


def growth(graph: Graph, item: Carried) -> int | None:
    """Return by how much a carried whole number grows each step; None for what is no counter."""
    maker = graph.producer(item.after)
    if maker is None or maker.op_type != "Add" or item.before not in maker.input:
        return None
    value = graph.value(maker.input[1 - list(maker.input).index(item.before)])
    return int(value.flat[0]) if value is not None and value.size == 1 and value.dtype.kind == "i" else None
