"""Fold a graph by shapes that were measured in two runs, where they cannot be inferred."""

from collections.abc import Mapping, Sequence

import numpy as np
from onnx import helper

from voxstack.importers.graphs.folding import fold, fold_reshapes, fold_sizes
from voxstack.importers.graphs.graph import Constant, Graph, attribute
from voxstack.importers.graphs.hoisting import by_shape_only
from voxstack.importers.graphs.measuring import open_part, run
from voxstack.importers.graphs.noops import drop_noops
from voxstack.importers.graphs.sizes import Shapes, Size

__all__ = ["fold_measured", "measured_shapes"]

ROUNDS = 4


def fold_measured(
    graph: Graph, feeds: Sequence[Mapping[str, Constant]], *, steps: Sequence[int], axis: str
) -> Graph:
    """Fold in place for utterances of any length, a batch of one; `feeds` are inputs for two lengths."""
    for _ in range(ROUNDS):
        before = len(graph.nodes)
        fold(graph)
        shapes, dtypes = _measure(graph, feeds, steps=steps, axis=axis)
        changes = _drop_casts(graph, dtypes)
        changes += fold_sizes(graph, shapes) + fold_reshapes(graph, shapes) + drop_noops(graph, shapes)
        fold(graph)
        if not changes and len(graph.nodes) == before:
            break
    return graph


def measured_shapes(
    graph: Graph, feeds: Sequence[Mapping[str, Constant]], *, steps: Sequence[int], axis: str
) -> Shapes:
    """Return every tensor's shape along `axis`, and what whole numbers hold that hang on sizes alone."""
    return _measure(graph, feeds, steps=steps, axis=axis)[0]


def _measure(
    graph: Graph, feeds: Sequence[Mapping[str, Constant]], *, steps: Sequence[int], axis: str
) -> tuple[Shapes, dict[str, np.dtype]]:
    graph.prune()
    own = [edge.name for edge in graph.inputs]
    made = [name for node in graph.nodes for name in node.output if name]
    names = [*made, *graph.constants, *own]
    session = open_part(graph, made, {name: feed.dtype.name for name, feed in feeds[0].items()})
    taken = [value.name for value in session.get_inputs()]
    runs: list[dict[str, Constant]] = []
    for feed in feeds:
        results = run(session, {name: feed[name] for name in taken})
        runs.append({**graph.constants, **feed, **results})
    shapes = Shapes({}, {})
    for name in names:
        one, other = (np.asarray(run[name]) for run in runs)
        if one.ndim != other.ndim:
            continue
        shapes.of[name] = tuple(_size(pair, steps, axis) for pair in zip(one.shape, other.shape, strict=True))
        small = one.dtype.kind == "i" and one.size <= 16 and one.shape == other.shape
        if small and by_shape_only(graph, name):
            entries = np.empty(one.size, object)
            entries[:] = [_size(pair, steps, axis) for pair in zip(one.flat, other.flat, strict=True)]
            shapes.values[name] = entries.reshape(one.shape)
    return shapes, {name: np.asarray(runs[0][name]).dtype for name in names}


def _size(sizes: tuple[int, int], steps: Sequence[int], axis: str) -> Size | None:
    """Return the size that is so long in two utterances: a number, or scale · steps + offset."""
    one, other = (int(size) for size in sizes)
    if one == other:
        return Size.number(one)
    scale, rest = divmod(other - one, steps[1] - steps[0])
    return Size(axis, scale, one - scale * steps[0]) if not rest else None


def _drop_casts(graph: Graph, dtypes: Mapping[str, np.dtype]) -> int:
    """Drop casts to the dtype that is there, and join a cast of a cast of whole numbers."""
    changes = 0
    for node in list(graph.nodes):
        if node.op_type != "Cast" or graph.is_output(node.output[0]):
            continue
        if helper.np_dtype_to_tensor_dtype(dtypes[node.input[0]]) == attribute(node, "to"):
            graph.replace(node.output[0], node.input[0])
            changes += 1
    graph.prune()
    return changes
