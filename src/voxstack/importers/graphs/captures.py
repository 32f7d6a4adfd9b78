"""Give the graphs inside a graph (bodies of Loops) all that they read as inputs: they then stand alone."""

from collections.abc import Iterator, Mapping

import onnx
from onnx import helper, numpy_helper

from voxstack.core.errors import ImporterError

__all__ = ["close_loops", "inner_graphs"]

INSIDE = "/inside"


def close_loops(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model whose Loop bodies read nothing from outside but their inputs.

    A captured constant is copied into the body; any other captured tensor is carried through the loop
    unchanged. What the model computes stays the same.

    Raises:   ImporterError if another operator with a graph inside (If, Scan) captures something, or if
              nobody can say a captured tensor's dtype
    """
    if not any(_captured(node) for node in model.graph.node):
        return model
    closed = onnx.ModelProto()
    closed.CopyFrom(model)
    inferred = onnx.shape_inference.infer_shapes(closed, strict_mode=False).graph
    known = [*inferred.input, *inferred.output, *inferred.value_info]
    _close(closed.graph, {value.name: value for value in known})
    return closed


def inner_graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Yield the graphs that a node holds."""
    for item in node.attribute:
        if item.type == onnx.AttributeProto.GRAPH:
            yield item.g
        yield from item.graphs


def _close(graph: onnx.GraphProto, known: Mapping[str, onnx.ValueInfoProto]) -> None:
    constants = {item.name: item for item in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = helper.get_attribute_value(node.attribute[0])
    for node in graph.node:
        captured = _captured(node)
        for body in inner_graphs(node):
            types = {value.name: value for value in (*body.input, *body.value_info)}
            _close(body, {**known, **types})
        if not captured:
            continue
        if node.op_type != "Loop":
            raise ImporterError(f"a {node.op_type} reads {captured} from outside itself; export without it")
        (body,) = inner_graphs(node)
        _rename_reads(body, {name: name + INSIDE for name in captured})
        for name in captured:
            if isinstance(constants.get(name), onnx.TensorProto):
                copy = numpy_helper.from_array(numpy_helper.to_array(constants[name]), name + INSIDE)
                body.initializer.append(copy)
            else:
                _carry(node, body, name, known.get(name))


def _carry(node: onnx.NodeProto, body: onnx.GraphProto, name: str, value: onnx.ValueInfoProto | None) -> None:
    """Let a Loop carry a tensor from outside through every step."""
    if value is None or not value.type.tensor_type.elem_type:
        raise ImporterError(f"a Loop reads '{name}' from outside itself, and nobody can say its dtype")
    carried = len(node.input) - 2
    inside = onnx.ValueInfoProto()
    inside.CopyFrom(value)
    inside.name = name + INSIDE
    after = onnx.ValueInfoProto()
    after.CopyFrom(inside)
    after.name += "/next"
    node.input.append(name)
    node.output.insert(carried, name + INSIDE + "/last")
    body.input.append(inside)
    body.output.insert(1 + carried, after)
    body.node.append(helper.make_node("Identity", [inside.name], [after.name]))


def _captured(node: onnx.NodeProto) -> list[str]:
    """Return what the graphs inside a node read from outside, each once."""
    found: dict[str, None] = {}
    for body in inner_graphs(node):
        own = {value.name for value in body.input} | {item.name for item in body.initializer}
        own |= {name for inner in body.node for name in inner.output}
        read = [name for inner in body.node for name in (*inner.input, *_captured(inner))]
        read += [value.name for value in body.output]
        found.update(dict.fromkeys(name for name in read if name and name not in own))
    return list(found)


def _rename_reads(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        for body in inner_graphs(node):
            _rename_reads(body, names)
    for value in graph.output:
        value.name = names.get(value.name, value.name)
