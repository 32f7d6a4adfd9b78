"""Turn dropout that an export left at work into noise that is drawn from outside."""

import numpy as np
import onnx

from voxstack.importers.graphs.graph import Edge, Graph

__all__ = ["lift_dropouts"]


def lift_dropouts(graph: Graph, channels: int) -> tuple[str, ...]:
    """Turn Dropout that an export kept into noise that is drawn from outside; return the inputs' names.

    The ONNX operator does nothing at inference; the model it was made from dropped and scaled at each run.
    """
    names: list[str] = []
    for node in [node for node in graph.nodes if node.op_type == "Dropout"]:
        ratio = graph.scalar(node.input[1]) if len(node.input) > 1 and node.input[1] else 0.5
        if ratio is None or not 0 < ratio < 1:
            continue
        names.append(f"dropout_{len(names) + 1}")
        keep = np.float32(1 - ratio)
        kept = graph.add("Less", [names[-1], graph.constant(np.asarray(keep))])
        ones = graph.add("Cast", [kept], {"to": onnx.TensorProto.FLOAT})
        off = graph.add("Sub", [graph.add("Div", [ones, graph.constant(np.asarray(keep))]), _one(graph)])
        factor = graph.add("Add", [_one(graph), graph.add("Mul", [off, "noise"])])
        graph.replace(node.output[0], graph.add("Mul", [node.input[0], factor]))
    if names:
        wide = ("batch", "phonemes", channels)
        graph.inputs += [Edge("noise", "float32", ()), *(Edge(name, "float32", wide) for name in names)]
    graph.prune()
    return tuple(names)


def _one(graph: Graph) -> str:
    return graph.constant(np.asarray(1, np.float32))
