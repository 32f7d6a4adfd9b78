"""Write a layer normalisation that was exported as eight operators or more as the one it is (ONNX 17)."""

import onnx

from voxstack.importers.graphs.graph import Graph, attribute
from voxstack.importers.graphs.shapes import infer_shapes

__all__ = ["join_norms", "join_scaled_norms"]

OPSET = 17


def join_norms(graph: Graph) -> int:
    """Join in place, over the last axis; return how many were found. The graph's opset becomes 17 if any."""
    found = 0
    for node in [node for node in graph.nodes if node.op_type == "Div"]:
        centred, spread = (graph.producer(name) for name in node.input)
        if centred is None or centred.op_type != "Sub" or spread is None or spread.op_type != "Sqrt":
            continue
        mean, sum_ = graph.producer(centred.input[1]), graph.producer(spread.input[0])
        if not _is_last_mean(graph, mean, centred.input[0]) or sum_ is None or sum_.op_type != "Add":
            continue
        epsilon = graph.scalar(sum_.input[1])
        variance = graph.producer(sum_.input[0])
        square = graph.producer(variance.input[0]) if variance is not None else None
        if epsilon is None or square is None or not _is_last_mean(graph, variance, square.output[0]):
            continue
        squares = (
            square.op_type == "Pow"
            and graph.scalar(square.input[1]) == 2
            and square.input[0] == node.input[0]
        )
        squares = squares or (square.op_type == "Mul" and list(square.input) == [node.input[0]] * 2)
        scaled = _only_user(graph, node.output[0], "Mul")
        shifted = _only_user(graph, scaled[0].output[0], "Add") if scaled else None
        if not squares or scaled is None or shifted is None:
            continue
        joined = graph.add(
            "LayerNormalization", [centred.input[0], scaled[1], shifted[1]], {"axis": -1, "epsilon": epsilon}
        )
        graph.replace(shifted[0].output[0], joined)
        found += 1
    if found:
        graph.opset = max(graph.opset, OPSET)
    graph.prune()
    return found


def join_scaled_norms(graph: Graph) -> int:
    """Join layer normalisations of the form x · s + (shift - mean · s), s = scale / √(variance + ε)."""
    ranks = {name: len(shape) for name, shape in infer_shapes(graph).of.items()}
    changes = 0
    for node in [node for node in graph.nodes if node.op_type == "Reciprocal"]:
        spread = graph.producer(node.input[0])
        total = graph.producer(spread.input[0]) if spread is not None and spread.op_type == "Sqrt" else None
        variance = graph.producer(total.input[0]) if total is not None and total.op_type == "Add" else None
        if variance is None or not _is_mean(variance, ranks):
            continue
        square = graph.producer(variance.input[0])
        epsilon = graph.scalar(total.input[1]) if total is not None else None
        centred = graph.producer(square.input[0]) if square is not None and square.op_type == "Mul" else None
        mean = graph.producer(centred.input[1]) if centred is not None and centred.op_type == "Sub" else None
        scaled = graph.users(node.output[0])
        if (
            mean is None
            or centred is None
            or not _is_mean(mean, ranks)
            or epsilon is None
            or len(scaled) != 1
        ):
            continue
        data, factor = centred.input[0], scaled[0]
        scale = factor.input[1 - list(factor.input).index(node.output[0])]
        shifted = [
            (user, reader)
            for user in graph.users(factor.output[0])
            for reader in graph.users(user.output[0])
            if user.op_type == "Mul" and data in user.input and reader.op_type == "Add"
        ]
        offset = _offset(graph, factor.output[0], mean.output[0])
        if mean.input[0] != data or len(shifted) != 1 or offset is None or scale not in graph.constants:
            continue
        last = shifted[0][1]
        if offset[0] not in last.input:
            continue
        joined = graph.add("LayerNormalization", [data, scale, offset[1]], {"axis": -1, "epsilon": epsilon})
        graph.replace(last.output[0], joined)
        changes += 1
    if changes:
        graph.opset = max(graph.opset, OPSET)
    graph.prune()
    return changes


def _offset(graph: Graph, factor: str, mean: str) -> tuple[str, str] | None:
    """Return `shift - mean · factor` and the constant `shift`."""
    for user in graph.users(factor):
        if user.op_type == "Mul" and mean in user.input:
            for reader in graph.users(user.output[0]):
                if reader.op_type == "Sub" and reader.input[0] in graph.constants:
                    return reader.output[0], reader.input[0]
    return None


def _is_mean(node: onnx.NodeProto | None, ranks: dict[str, int]) -> bool:
    """Say whether a node is the mean over the last axis alone."""
    if node is None:
        return False
    if node.op_type == "GlobalAveragePool":  # over all axes behind the second
        return ranks.get(node.input[0]) == 3
    return node.op_type == "ReduceMean" and attribute(node, "axes") == [-1]


def _is_last_mean(graph: Graph, node: onnx.NodeProto | None, tensor: str) -> bool:
    return (
        node is not None
        and node.op_type == "ReduceMean"
        and node.input[0] == tensor
        and attribute(node, "axes") == [-1]
        and attribute(node, "keepdims") in (None, 1)
    )


def _only_user(graph: Graph, tensor: str, op: str) -> tuple[onnx.NodeProto, str] | None:
    """Return the one node that reads a tensor, if it combines it with a constant vector, and that vector."""
    users = graph.users(tensor)
    if len(users) != 1 or users[0].op_type != op:
        return None
    others = [name for name in users[0].input if name != tensor]
    value = graph.value(others[0]) if len(others) == 1 else None
    return (users[0], others[0]) if value is not None and value.ndim == 1 else None
