"""Free the batch of a net whose exporter wrote a batch of one into its reshapes.

    Reshape(x [N·T, k], [1, -1, k])  →  what lies above it keeps its axes: MatMul(x [N, T, j], w)
    Reshape(x [N, T], [1, 1, 1, -1]) →  [0, 1, 1, -1]
    Reshape(x [N, 160], [1, 2, 80])  →  [-1, 2, 80]

Whether a one is the batch's is measured: what goes into the reshape then grows with a batch of two.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from voxstack.importers.graphs.graph import Constant, Graph
from voxstack.importers.graphs.measuring import run_tensors

__all__ = ["free_batch"]

Feeds = Mapping[str, Constant]


def free_batch(graph: Graph, one: Feeds, two: Feeds) -> int:
    """Free in place, as far as that is known to go; return how many reshapes changed.

    In:       one, two  inputs for one utterance, and for two of the same length
    """
    graph.prune()
    changes = 0
    for node in [node for node in graph.nodes if node.op_type == "Reshape"]:
        shape = graph.value(node.input[1])
        if shape is None or shape.size < 2 or shape[0] != 1:
            continue
        above = _flattened(graph, node)
        names = [node.input[0], *([above[0]] if above else [])]
        alone, both = (run_tensors(graph, names, feeds) for feeds in (one, two))
        given = both[node.input[0]]
        if given.size != 2 * alone[node.input[0]].size:
            continue
        freed = _freed(shape.tolist(), is_first=given.shape[0] == 2 == 2 * alone[node.input[0]].shape[0])
        if freed is not None:
            node.input[1] = graph.constant(np.asarray(freed, np.int64))
        elif above is not None and both[above[0]].ndim == shape.size and both[above[0]].shape[0] == 2:
            graph.replace(node.output[0], graph.add("MatMul", above))
        else:
            continue
        graph.changed()
        changes += 1
    graph.prune()
    return changes


def _freed(shape: Sequence[int], *, is_first: bool) -> list[int] | None:
    """Return a shape whose leading one is the batch, if it can be said so."""
    if is_first:
        return [0, *shape[1:]]
    return None if any(size < 1 for size in shape[1:]) else [-1, *shape[1:]]


def _flattened(graph: Graph, node: onnx.NodeProto) -> list[str] | None:
    """Return what a product is of, before its rows were laid end to end for it."""
    product = graph.producer(node.input[0])
    if product is None or product.op_type != "MatMul":
        return None
    rows = graph.producer(product.input[0])
    weights = graph.value(product.input[1])
    if rows is None or rows.op_type != "Reshape" or weights is None or weights.ndim != 2:
        return None
    laid = graph.value(rows.input[1])
    is_flat = laid is not None and laid.tolist() == [-1, weights.shape[0]]
    return [rows.input[0], product.input[1]] if is_flat else None
