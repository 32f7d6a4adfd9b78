"""Move out of a loop's step what is the same in every step: it is computed once, before the loop."""

from collections.abc import Mapping

import numpy as np
import onnx

from voxstack.importers.graphs.graph import Edge, Graph
from voxstack.importers.graphs.sizes import Shapes, Size
from voxstack.importers.loops.noise import DRAWS

__all__ = ["by_shape_only", "hoist", "join_graphs"]


def hoist(step: Graph, held: Mapping[str, Edge], shapes: Shapes) -> Graph:
    """Take from a step all that hangs on constants and held inputs alone; return it as a graph of its own.

    What the step still reads of it becomes inputs of the step and outputs of that graph, under the names
    that they had. Sizes are not moved: they cost nothing.
    """
    _sizes_of_held(step, held, shapes)
    step.prune()
    still = set(held)
    moved: list[onnx.NodeProto] = []
    for node in step.nodes:
        names = [name for name in node.input if name and name not in step.constants]
        if names and all(name in still for name in names) and node.op_type not in DRAWS:
            moved.append(node)
            still.update(node.output)
    kept = [node for node in step.nodes if all(node is not other for other in moved)]
    read = {name for node in kept for name in node.input} | {edge.name for edge in step.outputs}
    gone = {name for node in moved for name in node.output}
    front = [name for node in moved for name in node.output if name in read and name in gone]
    before = Graph(
        nodes=moved,
        constants=dict(step.constants),
        inputs=[edge for edge in step.inputs if edge.name in held],
        outputs=[Edge(name, "float32", None) for name in front],
        opset=step.opset,
    )
    step.nodes = kept
    step.changed()
    step.inputs = [edge for edge in step.inputs if edge.name not in held or edge.name in read]
    step.inputs += [Edge(name, "float32", None) for name in front]
    return before


def _sizes_of_held(step: Graph, held: Mapping[str, Edge], shapes: Shapes) -> None:
    """Read the size of an axis from a held tensor, where it was read from what the step makes."""
    source = _axis_sources(shapes, held)
    for node in list(step.nodes):
        shape = shapes.of.get(node.input[0], ()) if node.op_type == "Shape" else ()
        plain = [size.known is not None or _is_plain(size, source) for size in shape if size is not None]
        if node.op_type != "Shape" or len(plain) != len(shape) or not all(plain) or not shape:
            continue
        if node.input[0] in held or node.attribute:
            continue
        parts = [_size(step, size, source) for size in shape if size is not None]
        step.replace(node.output[0], step.add("Concat", parts, {"axis": 0}))
    step.prune()


def _axis_sources(shapes: Shapes, held: Mapping[str, Edge]) -> dict[str, tuple[str, int]]:
    found: dict[str, tuple[str, int]] = {}
    for name in held:
        for place, size in enumerate(shapes.of.get(name, ())):
            if size is not None and size.axis and (size.scale, size.offset) == (1, 0):
                found.setdefault(size.axis, (name, place))
    return found


def _is_plain(size: Size, source: Mapping[str, tuple[str, int]]) -> bool:
    return size.axis in source and (size.scale, size.offset) == (1, 0)


def _size(step: Graph, size: Size, source: Mapping[str, tuple[str, int]]) -> str:
    if size.known is not None:
        return step.constant(np.asarray([size.known], np.int64))
    tensor, place = source[size.axis]
    shape = step.add("Shape", [tensor])
    return step.add("Gather", [shape, step.constant(np.asarray([place], np.int64))], {"axis": 0})


def join_graphs(main: Graph, part: Graph, inputs: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Put a part into a graph, reading its tensors for the part's inputs; return the names of its tensors."""
    names = dict(inputs)
    for name, array in part.constants.items():
        names[name] = f"{prefix}{name}"
        main.constants[names[name]] = array
    for node in part.nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for name in node.output:
            names[name] = f"{prefix}{name}"
        copy.input[:] = [names[name] if name else "" for name in node.input]
        copy.output[:] = [names[name] if name else "" for name in node.output]
        main.nodes.append(copy)
    main.changed()
    return names


def by_shape_only(graph: Graph, tensor: str) -> bool:
    """Say whether a tensor hangs on the sizes of the graph's inputs alone, not on what they hold."""
    own = {edge.name for edge in graph.inputs}
    todo, seen = [tensor], set[str]()
    while todo:
        name = todo.pop()
        if name in seen or not name:
            continue
        seen.add(name)
        node = graph.producer(name)
        if name in own or (node is not None and node.op_type in DRAWS):
            return False
        if node is not None and node.op_type not in ("Shape", "Size"):
            todo += node.input
    return True
