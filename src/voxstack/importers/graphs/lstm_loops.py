"""Write Loops that are LSTMs over the symbols of a text as the LSTM operator, which is faster."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import onnx

from voxstack.core.errors import ImporterError
from voxstack.importers.graphs.graph import Constant, Graph, attribute
from voxstack.importers.graphs.measuring import run_tensors
from voxstack.importers.loops.body import Carried, LoopBody, growth, read_body

__all__ = ["replace_lstms"]

VIEWS = ("Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
Weights = tuple[Constant, Constant, Constant]
ORDER = "iofc"
"""Gates in the order in which the LSTM operator wants their weights; c is the cell's candidate."""


@dataclass(frozen=True)
class Cell:
    """An LSTM cell found in a body.

    sequence    held tensor [steps, batch, inputs] of which each step reads a row
    mask        held flags [steps, …], False where a step leaves the state and gives zeros; None: all are True
    weights     [inputs, 4 · hidden], recurrent [hidden, 4 · hidden], bias [4 · hidden]; gates in ORDER
    """

    sequence: str
    mask: str | None
    weights: Constant
    recurrent: Constant
    bias: Constant


def replace_lstms(graph: Graph) -> int:
    """Replace in place what can be; return how many Loops went.

    A Loop over a reversed sequence, whose result is reversed back, becomes an LSTM that reads backwards.
    """
    count = 0
    for node in [node for node in graph.nodes if node.op_type == "Loop"]:
        try:
            body = read_body(graph, node)
        except ImporterError:
            continue
        cell = _cell(body)
        if cell is not None and _replace(graph, node, body, cell):
            count += 1
    graph.prune()
    return count


def _replace(graph: Graph, node: onnx.NodeProto, body: LoopBody, cell: Cell) -> bool:
    outer = {item.before: item.first for item in body.carried}
    last = {item.last for item in body.carried}
    whole = body.collected[0].whole
    if any(graph.users(name) or graph.is_output(name) for name in last) or not graph.users(whole):
        return False
    sequence, direction = outer[cell.sequence], "forward"
    maker = graph.producer(sequence)
    back = _reversed_again(graph, whole)
    if maker is not None and _turns_steps(maker):
        if back is None:
            return False
        sequence, direction = maker.input[0], "reverse"
    lengths = ""
    if cell.mask is not None:
        inside = graph.add("Cast", [outer[cell.mask]], {"to": onnx.TensorProto.FLOAT})
        total = graph.add("ReduceSum", [inside], {"keepdims": 0})
        whole_number = graph.add("Cast", [total], {"to": onnx.TensorProto.INT32})
        lengths = graph.add("Reshape", [whole_number, graph.constant(np.asarray([1], np.int64))])
    bias = np.concatenate([cell.bias, np.zeros_like(cell.bias)])[None]
    constants = [np.ascontiguousarray(part.T)[None] for part in (cell.weights, cell.recurrent)]
    names = [graph.constant(part) for part in (*constants, bias)]
    options = {"hidden_size": cell.recurrent.shape[0], "direction": direction}
    made = graph.add("LSTM", [sequence, *names, lengths], options)
    rows = graph.add("Squeeze", [made, graph.constant(np.asarray([1], np.int64))])
    graph.nodes = [other for other in graph.nodes if other is not node]
    graph.changed()
    graph.replace(whole, rows)
    if direction == "reverse" and back is not None:
        graph.replace(back.output[0], back.input[0])
    return True


def _turns_steps(node: onnx.NodeProto) -> bool:
    return node.op_type == "ReverseSequence" and attribute(node, "time_axis") in (None, 0)


def _reversed_again(graph: Graph, tensor: str) -> onnx.NodeProto | None:
    """Return what turns a sequence round, if nothing else reads it but for its sizes."""
    while len(users := [user for user in graph.users(tensor) if not _sizes_only(graph, user)]) == 1:
        if _turns_steps(users[0]):
            return users[0]
        if users[0].op_type not in VIEWS:
            return None
        tensor = users[0].output[0]
    return None


def _sizes_only(graph: Graph, node: onnx.NodeProto) -> bool:
    """Say whether a node leads to nothing but sizes."""
    if node.op_type == "Shape":
        return True
    users = [user for name in node.output for user in graph.users(name)]
    return node.op_type in VIEWS and bool(users) and all(_sizes_only(graph, user) for user in users)


def _cell(body: LoopBody) -> Cell | None:
    """Recognise an LSTM cell by trying which one computes what a step of the body computes."""
    if len(body.collected) != 1:
        return None
    edges = {edge.name: edge for edge in body.graph.inputs}
    held = [edges[item.before] for item in body.carried if item.after == item.before]
    states = [i for i in body.carried if i.after != i.before and growth(body.graph, i) is None]
    sequences = [edge.name for edge in held if edge.dtype == "float32" and len(edge.axes or ()) == 3]
    read = {name for end in _ends(body, states) for name in body.graph.sources(end)}
    masks = [edge.name for edge in held if edge.dtype == "bool" and edge.name in read]
    if len(states) != 2 or len(sequences) != 1 or len(masks) > 1:
        return None
    arrays = [array for array in body.graph.constants.values() if array.dtype == np.float32]
    biases = [array for array in arrays if array.ndim == 1 and array.size > 1]
    matrices = [array for array in arrays if array.ndim == 2]
    if len(biases) != 1 or len(matrices) != 2 or any(m.shape[1] != biases[0].size for m in matrices):
        return None
    mask = masks[0] if masks else None
    for weights, recurrent in permutations(matrices):
        if 4 * recurrent.shape[0] != recurrent.shape[1]:
            continue
        for hidden, cell in permutations(states):
            order = _order(body, (weights, recurrent, biases[0]), (hidden, cell), sequences[0], mask)
            if order is not None:
                parts = (np.split(array, 4, axis=-1) for array in (weights, recurrent, biases[0]))
                made = [np.concatenate([part[order.index(gate)] for gate in ORDER], -1) for part in parts]
                return Cell(sequences[0], mask, *made)
    return None


def _ends(body: LoopBody, states: Sequence[Carried]) -> list[str]:
    """Return what a step gives: the output, and both states."""
    return [body.collected[0].piece, *(item.after for item in states)]


def _order(
    body: LoopBody, weights: Weights, states: tuple[Carried, Carried], sequence: str, mask: str | None
) -> str | None:
    """Return the order of the gates with which a cell computes what the body computes; None if none does.

    Where a mask is False the state must stay, and the output be what is held for that: zeros.
    """
    random = np.random.default_rng(0)
    inputs, width = weights[0].shape[0], weights[1].shape[0]
    values = [random.standard_normal((1, width)).astype(np.float32) for _ in states]
    rows = random.standard_normal((1, 1, inputs)).astype(np.float32)
    feeds: dict[str, Constant] = {}
    for edge in body.graph.inputs:
        rank = len(edge.axes or ())
        size = width if rank == 2 else 1
        feeds[edge.name] = np.zeros([1] * (rank - 1) + [size] if rank else [], edge.dtype)
    feeds |= {sequence: rows, **{item.before: value for item, value in zip(states, values, strict=True)}}
    names = _ends(body, states)
    results: list[list[Constant]] = []
    for inside in (True, False) if mask is not None else (True,):
        flags = {} if mask is None else {mask: np.full(feeds[mask].shape, inside)}
        found = run_tensors(body.graph, names, {**feeds, **flags})
        results.append([found[name] for name in names])
    if len(results) > 1 and not all(
        np.array_equal(got, kept)
        for got, kept in zip(results[1], [np.zeros_like(values[0]), *values], strict=True)
    ):
        return None
    total = rows[0] @ weights[0] + values[0] @ weights[1] + weights[2]
    for order in map("".join, permutations(ORDER)):
        gates = dict(zip(order, np.split(total, 4, axis=-1), strict=True))
        kept, new, shown = (1 / (1 + np.exp(-gates[name])) for name in "fio")
        cell = kept * values[1] + new * np.tanh(gates["c"])
        hidden = shown * np.tanh(cell)
        if all(np.allclose(g, w, atol=1e-5) for g, w in zip(results[0], (hidden, hidden, cell), strict=True)):
            return order
    return None
