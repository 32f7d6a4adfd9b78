"""Write a layer normalisation that was exported as eight operators as the one operator it is (ONNX 17)."""

import onnx

from voxstack.importers.graph import Graph, attribute

__all__ = ["join_norms"]

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
