"""Learn shapes by running parts of a graph on two utterances of different length."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper

from voxstack.core.errors import ImporterError
from voxstack.importers.graphs.graph import Constant, Edge, Graph

__all__ = ["Examples", "common_axes", "open_part", "run", "run_tensors"]

BATCH = "batch"


def run_tensors(graph: Graph, names: Sequence[str], feeds: Mapping[str, Constant]) -> dict[str, Constant]:
    """Run what some tensors of a graph need, and return them; `feeds` hold what the graph takes."""
    result = {name: feeds[name] for name in names if name in feeds}
    result |= {name: graph.constants[name] for name in names if name in graph.constants}
    made = [name for name in dict.fromkeys(names) if name not in result]
    if not made:
        return result
    session = open_part(graph, made, {name: feed.dtype.name for name, feed in feeds.items()})
    return result | run(session, {value.name: feeds[value.name] for value in session.get_inputs()})


def run(session: ort.InferenceSession, feeds: Mapping[str, Constant]) -> dict[str, Constant]:
    """Return a session's outputs by name."""
    names = [value.name for value in session.get_outputs()]
    values = session.run(names, dict(feeds))
    return {name: np.asarray(value) for name, value in zip(names, values, strict=True)}


def open_part(graph: Graph, names: Sequence[str], dtypes: Mapping[str, str]) -> ort.InferenceSession:
    """Open a session that computes some tensors of a graph, whatever their dtypes and shapes are."""
    outputs = [Edge(name, "float32", None) for name in names]
    part = Graph(list(graph.nodes), dict(graph.constants), list(graph.inputs), outputs, graph.opset)
    part.prune()
    read = {name for node in part.nodes for name in node.input}
    inputs = [
        helper.make_tensor_value_info(
            edge.name, helper.np_dtype_to_tensor_dtype(np.dtype(dtypes[edge.name])), None
        )
        for edge in part.inputs
        if edge.name in read
    ]
    constants = [onnx.numpy_helper.from_array(np.asarray(a, order="C"), n) for n, a in part.constants.items()]
    proto = helper.make_graph(
        part.nodes, "part", inputs, [onnx.ValueInfoProto(name=name) for name in names], constants
    )
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", graph.opset)])
    model.ir_version = 8
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


class Examples:
    """Two utterances of different length, run through the part of a graph that a loop stands behind."""

    def __init__(
        self, graph: Graph, feeds: Sequence[Mapping[str, Constant]], *, axis: str, steps: Sequence[int]
    ) -> None:
        self.axis, self.steps = axis, tuple(steps)
        self.feeds = feeds
        self._graph = graph
        self._known: dict[str, tuple[Constant, ...]] = {}

    def values(self, names: Sequence[str]) -> dict[str, tuple[Constant, ...]]:
        """Return tensors as they are in each utterance."""
        new = [name for name in names if name not in self._known]
        runs = [run_tensors(self._graph, new, feeds) for feeds in self.feeds] if new else []
        self._known |= {name: tuple(run[name] for run in runs) for name in new}
        return {name: self._known[name] for name in names}

    def axes(self, values: Sequence[Constant], *, of: str) -> tuple[str | int, ...]:
        return common_axes([value.shape for value in values], self.steps, axis=self.axis, of=of)


def common_axes(
    shapes: Sequence[tuple[int, ...]], steps: Sequence[int], *, axis: str, of: str
) -> tuple[str | int, ...]:
    """Return the axes of a tensor that has these shapes in utterances of so many steps.

    A size that follows the utterance is the axis; one in front is the batch; what stays is a number.
    """
    if len({len(shape) for shape in shapes}) != 1:
        raise ImporterError(
            f"'{of}' has {[len(shape) for shape in shapes]} axes in two utterances, want as many"
        )
    axes: list[str | int] = []
    for place, sizes in enumerate(zip(*shapes, strict=True)):
        if sizes == tuple(steps):
            axes.append(axis)
        elif len(set(sizes)) != 1:
            raise ImporterError(
                f"an axis of '{of}' has {list(sizes)} steps in utterances of {list(steps)} {axis}"
            )
        else:
            axes.append(BATCH if place == 0 and sizes[0] == 1 else sizes[0])
    return tuple(axes)
