"""Lift what is drawn at random out of a graph, so that whoever runs it gives the noise and can repeat it."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx

from voxstack.core.errors import ImporterError
from voxstack.importers.graphs.graph import Edge, Graph, attributes

__all__ = ["DRAWS", "lift_noise", "noise_kind", "revive_dropouts"]

_NORMAL = ("RandomNormal", "RandomNormalLike")
_UNIFORM = ("RandomUniform", "RandomUniformLike")
DRAWS = frozenset([*_NORMAL, *_UNIFORM, "Dropout"])

Axes = Sequence[str | int]


def noise_kind(graph: Graph, node: onnx.NodeProto) -> str | None:
    """Return what a node draws, "normal" or "uniform" numbers; None if it draws nothing."""
    if node.op_type in _NORMAL:
        return "normal"
    if node.op_type == "Dropout":
        training = graph.value(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        return "uniform" if training is not None and bool(np.all(training)) else None
    if node.op_type in ("Bernoulli", "Multinomial"):
        raise ImporterError(f"draws with {node.op_type}; want RandomNormal, RandomUniform or Dropout")
    return "uniform" if node.op_type in _UNIFORM else None


def lift_noise(graph: Graph, axes_of: Callable[[str], Axes], *, prefix: str) -> dict[str, str]:
    """Let a graph take plain noise (mean 0 and deviation 1, or 0…1) where it drew; return names and kinds.

    A Dropout keeps what meets noise below its chance of keeping.

    In:       axes_of   tells the axes of a tensor that is drawn
    """
    lifted: dict[str, str] = {}
    for node in list(graph.nodes):
        kind = noise_kind(graph, node)
        if kind is None:
            continue
        name = f"{prefix}_{len(lifted) + 1}" if lifted else prefix
        lifted[name] = kind
        graph.inputs.append(Edge(name, "float32", tuple(axes_of(node.output[0]))))
        options = attributes(node)
        if node.op_type == "Dropout":
            made = _dropped(graph, node, name)
        elif kind == "normal":
            made = _spread(graph, name, _number(options, "mean", 0.0), _number(options, "scale", 1.0))
        else:
            low, high = _number(options, "low", 0.0), _number(options, "high", 1.0)
            made = _spread(graph, name, low, high - low)
        graph.replace(node.output[0], made)
    graph.changed()
    return lifted


def revive_dropouts(
    graph: Graph, axes_of: Callable[[str], Axes], *, prefix: str, amount: str
) -> dict[str, str]:
    """Let Dropout that does nothing at inference drop by `amount` of what it dropped in training.

    Some models drop at inference too, and their exports forgot it. An amount of 0 changes no bit, 1 drops
    all that training dropped.

    In:       amount   name of the new scalar input
    Out:      names of the new random inputs, and their kinds
    """
    names: dict[str, str] = {}
    for node in [
        node for node in graph.nodes if node.op_type == "Dropout" and noise_kind(graph, node) is None
    ]:
        name = f"{prefix}_{len(names) + 1}" if names else prefix
        names[name] = "uniform"
        graph.inputs.append(Edge(name, "float32", tuple(axes_of(node.output[0]))))
        if amount not in [edge.name for edge in graph.inputs]:
            graph.inputs.append(Edge(amount, "float32", ()))
        dropped = _dropped(graph, node, name)
        off = graph.add("Mul", [graph.add("Sub", [dropped, node.input[0]]), amount])
        graph.replace(node.output[0], graph.add("Add", [node.input[0], off]))
        graph.changed()
    graph.changed()
    return names


def _spread(graph: Graph, noise: str, low: float, width: float) -> str:
    wide = graph.add("Mul", [noise, graph.constant(np.asarray(width, np.float32))])
    return graph.add("Add", [wide, graph.constant(np.asarray(low, np.float32))])


def _dropped(graph: Graph, node: onnx.NodeProto, noise: str) -> str:
    ratio = graph.scalar(node.input[1]) if len(node.input) > 1 and node.input[1] else 0.5
    if ratio is None or not 0 <= ratio < 1:
        raise ImporterError("a Dropout's ratio is no constant below 1")
    keep = 1.0 - ratio
    kept = graph.add("Less", [noise, graph.constant(np.asarray(keep, np.float32))])
    factor = graph.add("Cast", [kept], {"to": onnx.TensorProto.FLOAT})
    scaled = graph.add("Mul", [node.input[0], graph.constant(np.asarray(1 / keep, np.float32))])
    return graph.add("Mul", [scaled, factor])


def _number(options: Mapping[str, object], name: str, default: float) -> float:
    value = options.get(name, default)
    return float(value) if isinstance(value, int | float) else default
