"""Hold a cut Loop against the model it came from: same inputs, same noise, frame by frame.

Both run without the runtime's optimisations. A loop that feeds on its own output and attention makes of a
rounding error of 1e-7 one of 0.1 within a hundred steps in some utterances; with the same operators in the
same order there is no rounding error, and a wrong cut shows.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

from voxstack.importers.graphs.captures import inner_graphs
from voxstack.importers.graphs.graph import Constant, Edge, Graph
from voxstack.importers.graphs.measuring import BATCH, run
from voxstack.importers.loops.noise import lift_noise
from voxstack.importers.loops.stop import StopRule

__all__ = ["LoopChain", "Uncut", "plain_session"]

MOST_STEPS = 5000
TABLE = "table/"


def plain_session(model: onnx.ModelProto) -> ort.InferenceSession:
    """Open a session that runs a model operator by operator, on one thread."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


@dataclass(frozen=True)
class LoopChain:
    """Run the part before a Loop, and then its step until it stops: plainly, nothing shared with the engine.

    state    state input → output that it becomes
    """

    before: ort.InferenceSession
    step: ort.InferenceSession
    state: Mapping[str, str]
    stop: StopRule

    def run(
        self, feeds: Mapping[str, Constant], noise: Mapping[str, Constant], *, most: int = MOST_STEPS
    ) -> dict[str, Constant]:
        """Return what each step gave, stacked along a first axis; the state left out.

        In:       feeds   the inputs of the part before the Loop, and those of the step that nobody makes
                  noise   for each random input of the step its values, a step each
        """
        taken = {value.name: feeds[value.name] for value in self.before.get_inputs()}
        given = {**feeds, **run(self.before, taken)}
        inputs = self._first(given)
        counts = any(value.name == "position" for value in self.step.get_inputs())
        made: list[dict[str, Constant]] = []
        bound = min(self.stop.most or most, most)
        while len(made) < bound:
            drawn = {name: values[len(made)] for name, values in noise.items()}
            position = {"position": np.asarray(len(made), np.int64)} if counts else {}
            results = run(self.step, {**inputs, **drawn, **position})
            inputs |= {name: results.pop(after) for name, after in self.state.items()}
            made.append(results)
            ends = "stop" in results and float(results["stop"].max()) > self.stop.threshold
            if ends and len(made) >= self.stop.least:
                break
        return {name: np.stack([results[name] for results in made]) for name in made[0]}

    def _first(self, given: Mapping[str, Constant]) -> dict[str, Constant]:
        """Return a step's first inputs: what is given, and zeros for states that are not."""
        values = self.step.get_inputs()
        inputs = {value.name: given[value.name] for value in values if value.name in given}
        sizes = {
            axis: size
            for value in values
            if value.name in inputs
            for axis, size in zip(value.shape, inputs[value.name].shape, strict=True)
            if isinstance(axis, str)
        }
        for value in values:
            if value.name in self.state and value.name not in inputs:
                shape = [
                    axis if isinstance(axis, int) else 1 if axis.startswith(BATCH) else sizes[axis]
                    for axis in value.shape
                ]
                inputs[value.name] = np.zeros(shape, _DTYPES[value.type])
        return inputs


_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}


class Uncut:
    """The model as it was, but what its Loop draws comes from outside, and it ends after `most` steps.

    In:       extra   further tensors of the model to be returned
    """

    def __init__(
        self, model: onnx.ModelProto, loop: onnx.NodeProto, *, most: int, extra: tuple[str, ...] = ()
    ) -> None:
        lifted = onnx.ModelProto()
        lifted.CopyFrom(model)
        (node,) = [item for item in lifted.graph.node if item.output[:] == loop.output[:]]
        self.noise = _draw_from_tables(lifted.graph, node, max(e.version for e in lifted.opset_import))
        lifted.graph.initializer.append(numpy_helper.from_array(np.asarray(most, np.int64), "most_steps"))
        node.input[0] = "most_steps"
        lifted.graph.output.extend(onnx.ValueInfoProto(name=name) for name in extra)
        self._session = plain_session(lifted)

    def run(self, feeds: Mapping[str, Constant], noise: Mapping[str, Constant]) -> dict[str, Constant]:
        """Return the model's outputs, and the extra ones.

        In:       noise   as for `LoopChain.run`
        """
        tables = {TABLE + name: noise[name] for name in self.noise}
        return run(self._session, {**feeds, **tables})


def _draw_from_tables(main: onnx.GraphProto, node: onnx.NodeProto, opset: int) -> dict[str, str]:
    """Let a Loop's body read its noise from tables [steps, …], new inputs; return the names and kinds."""
    (body,) = inner_graphs(node)
    bare = onnx.GraphProto()
    bare.CopyFrom(body)
    del bare.input[:], bare.output[:]  # of which some may be sequences
    graph = Graph.read(helper.make_model(bare, opset_imports=[helper.make_opsetid("", opset)]))
    kinds = lift_noise(graph, lambda _: (), prefix="step_noise")
    if not kinds:
        return kinds
    for name in kinds:
        graph.rename(name, graph.add("Gather", [TABLE + name, body.input[0].name], {"axis": 0}))
        main.input.append(helper.make_tensor_value_info(TABLE + name, onnx.TensorProto.FLOAT, None))
    graph.inputs = []
    graph.outputs = [Edge(value.name, "float32", None) for value in body.output]
    graph.prune()
    del body.node[:], body.initializer[:]
    body.node.extend(graph.nodes)
    body.initializer.extend(numpy_helper.from_array(array, name) for name, array in graph.constants.items())
    return kinds
