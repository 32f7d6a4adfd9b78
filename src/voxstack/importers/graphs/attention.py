"""Compute relative attention on the few distances that were learnt, not on all that occur.

An encoder with relative positions knows a vector for each distance up to a window (4 steps, so 9 vectors).
Exporters write the vectors out for all 2T - 1 distances, nearly all zero, and multiply by them: half of the
attention's work. Here the products are made for the window only, and laid on the diagonals where they
belong:

    w = 1, T = 4       rows of 2w + 1, padded     the same memory read      columns w … w + T:
                       to L + 1 = T + 2w + 1      in rows of L = T + 2w     the diagonals
    a b c              a b c . . . .              a b c . . .               b c . .
    d e f       →      d e f . . . .       →      . d e f . .        →      d e f .
    g h i              g h i . . . .              . . g h i .               . g h i
    j k l              j k l . . . .              . . . j k l               . . j k
"""

from dataclasses import dataclass

import numpy as np
import onnx

from voxstack.importers.graphs.graph import Constant, Graph
from voxstack.importers.graphs.shapes import infer_shapes
from voxstack.importers.graphs.sizes import Shapes, Size

__all__ = ["narrow_attention"]

SKEWS = ("Pad", "Reshape", "Slice")
WIDENS = ("Pad", "Slice", "Unsqueeze", "Transpose")


@dataclass(frozen=True)
class Table:
    """Hold the learnt vectors [2 · window + 1, width] that a product was widened from, and the product."""

    product: onnx.NodeProto
    vectors: Constant
    window: int


def narrow_attention(graph: Graph) -> int:
    """Rewrite in place; return how many products were narrowed."""
    shapes = infer_shapes(graph)
    tables = [table for node in graph.nodes if (table := _table(graph, node)) is not None]
    count = 0
    for table in tables:
        distances = shapes.of.get(table.product.input[1], ())
        if len(distances) != 4:
            continue
        by_key = distances[2] == Size.number(table.vectors.shape[1])
        done = _to_positions(graph, shapes, table) if by_key else _to_distances(graph, shapes, table)
        count += done
    graph.prune()
    return count


def _table(graph: Graph, node: onnx.NodeProto) -> Table | None:
    if node.op_type != "MatMul":
        return None
    tensor, padded = node.input[1], False
    while (maker := graph.producer(tensor)) is not None and maker.op_type in WIDENS:
        padded = padded or maker.op_type == "Pad"
        tensor = maker.input[0]
    vectors = graph.value(tensor)
    if (
        vectors is None
        or not padded
        or vectors.ndim != 3
        or vectors.shape[0] != 1
        or vectors.shape[1] % 2 == 0
    ):
        return None
    return Table(node, vectors[0], vectors.shape[1] // 2)


def _to_positions(graph: Graph, shapes: Shapes, table: Table) -> bool:
    """Scores: query · vector for each distance, then laid on diagonals [T, T]."""
    tensor = table.product.output[0]
    while len(users := _readers(graph, tensor)) == 1 and users[0].op_type in SKEWS:
        tensor = users[0].output[0]
    length = _length(graph, shapes, table.product.input[0])
    if length is None or tensor == table.product.output[0]:
        return False
    window = table.window
    near = graph.add(
        "MatMul", [table.product.input[0], graph.constant(np.ascontiguousarray(table.vectors.T))]
    )
    pads = _vector(graph, [0] * 6, 2 * window, length)
    rows = graph.add("Pad", [near, pads])  # [L, L + 1]
    skewed = graph.add("Reshape", [rows, _vector(graph, [0, 0, -1], _plus(graph, length, 2 * window))])
    starts = graph.constant(np.asarray([0, window]))
    ends = graph.add("Concat", [length, _plus(graph, length, window)], {"axis": 0})
    graph.replace(tensor, graph.add("Slice", [skewed, starts, ends, graph.constant(np.asarray([2, 3]))]))
    return True


def _to_distances(graph: Graph, shapes: Shapes, table: Table) -> bool:
    """Results: weights [T, T] picked off their diagonals, then · vector for each distance."""
    tensor = table.product.input[0]
    while (maker := graph.producer(tensor)) is not None and maker.op_type in SKEWS:
        tensor = maker.input[0]
    length = _length(graph, shapes, tensor)
    if length is None or tensor == table.product.input[0]:
        return False
    window = table.window
    pads = graph.constant(np.asarray([0, 0, 0, window, 0, 0, 2 * window + 1, window]))
    rows = graph.add("Pad", [tensor, pads])  # [L + 1, L]
    skewed = graph.add("Reshape", [rows, _vector(graph, [0, 0, -1], _plus(graph, length, 2 * window + 1))])
    ends = graph.add("Concat", [length, graph.constant(np.asarray([2 * window + 1]))], {"axis": 0})
    edges = [graph.constant(np.asarray([0, 0])), ends, graph.constant(np.asarray([2, 3]))]
    near = graph.add("Slice", [skewed, *edges])
    graph.replace(table.product.output[0], graph.add("MatMul", [near, graph.constant(table.vectors.copy())]))
    return True


def _readers(graph: Graph, tensor: str) -> list[onnx.NodeProto]:
    """Return who reads a tensor's values, not only its shape."""
    return [node for node in graph.users(tensor) if node.op_type != "Shape" and node.input[0] == tensor]


def _length(graph: Graph, shapes: Shapes, tensor: str) -> str | None:
    """Return T, as a tensor of one number, of a tensor [batch, heads, T, …]; None if no input tells it."""
    shape = shapes.of.get(tensor, ())
    if len(shape) != 4 or shape[2] is None:
        return None
    for edge in graph.inputs:
        for place, size in enumerate(shapes.of.get(edge.name, ())):
            if size == shape[2]:
                whole = graph.add("Shape", [edge.name])
                bounds = [graph.constant(np.asarray([at])) for at in (place, place + 1, 0)]
                return graph.add("Slice", [whole, *bounds])
    return None


def _plus(graph: Graph, length: str, number: int) -> str:
    return graph.add("Add", [length, graph.constant(np.asarray([number]))])


def _vector(graph: Graph, numbers: list[int], *lasts: "int | str") -> str:
    """Return a vector of numbers that ends with sizes known only when it runs."""
    parts = [graph.constant(np.asarray([last])) if isinstance(last, int) else last for last in lasts]
    return graph.add("Concat", [graph.constant(np.asarray(numbers)), *parts], {"axis": 0})
