"""Cut one step of a Loop: pieces, stop and alignment from held tensors, states, noise and position."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx

from voxstack.importers.graphs.folding import fold
from voxstack.importers.graphs.graph import Constant, Edge, Graph
from voxstack.importers.graphs.hoisting import hoist, join_graphs
from voxstack.importers.graphs.measured_folding import fold_measured, measured_shapes
from voxstack.importers.graphs.measuring import common_axes, run_tensors
from voxstack.importers.graphs.sizes import Shapes
from voxstack.importers.loops.attention import find_alignment, reduced
from voxstack.importers.loops.body import Carried
from voxstack.importers.loops.noise import lift_noise, revive_dropouts
from voxstack.importers.loops.stop import StopRule
from voxstack.importers.loops.values import BATCH, LoopValues

__all__ = ["ALIGNMENT", "POSITION", "STOP", "Step", "cut_step"]

POSITION = "position"
STOP = "stop"
ALIGNMENT = "alignment"
MEMORY = "memory"
NEXT = "_next"
BODY = "body/"


@dataclass
class Step:
    """One step of a Loop as a graph of its own, and how it is tied to what stands before the Loop.

    state    state input → output that it becomes
    needs    tensors of the main graph → inputs of the step that they fill, with dtype and axes
    noise    random inputs and their kinds
    """

    graph: Graph
    state: dict[str, str]
    needs: dict[str, Edge]
    noise: dict[str, str]


def cut_step(
    loop: LoopValues, pieces: Mapping[str, str], stop: StopRule, *, amount: str | None = None
) -> Step:
    """Return a step of a Loop whose flags and counters are settled.

    In:       pieces   tensors of the body → what they are called as outputs of the step
              amount   name of an input that brings dropout back; None: an export's idle Dropout stays idle
    """
    noise = lift_noise(loop.graph, loop.drawn_axes, prefix="step_noise")
    if amount is not None:
        noise |= revive_dropouts(loop.graph, loop.drawn_axes, prefix="dropout", amount=amount)
    outputs = dict(pieces)
    if stop.tensor is not None:
        outputs[_chance(loop, stop)] = STOP
    live = _live(loop, list(outputs))
    graph, state = _extract(loop, outputs, live)
    befores = {name: item.before for name, item in live.items()}
    graph.inputs = [edge for edge in graph.inputs if graph.users(edge.name)]
    feeds = _feeds(loop, graph, loop.outer, befores)
    steps, axis = loop.examples.steps, loop.examples.axis
    fold_measured(graph, feeds, steps=steps, axis=axis)
    _expose_alignment(graph, measured_shapes(graph, feeds, steps=steps, axis=axis), axis)
    hoisted = _hoist(loop, graph, measured_shapes(graph, feeds, steps=steps, axis=axis))
    renamed = _name_held(graph, [*loop.outer, *hoisted])
    outer = {renamed[name]: tensor for name, tensor in (loop.outer | hoisted).items() if name in renamed}
    begins = {name: item for name, item in live.items() if not loop.begins_with_zeros(item)}
    outer |= {name: item.first for name, item in begins.items()}
    _describe(loop, graph, _feeds(loop, graph, outer, befores))
    edges = {edge.name: edge for edge in graph.inputs}
    needs = {tensor: edges[name] for name, tensor in outer.items()}
    return Step(graph, state, needs, {name: kind for name, kind in noise.items() if name in edges})


def _chance(loop: LoopValues, stop: StopRule) -> str:
    """Return a tensor [batch] of the body: the probability of the end, the one that counts of several."""
    assert stop.tensor is not None
    graph, chance = loop.graph, stop.tensor
    rank = len(loop.shape_of(chance))
    if stop.is_logit:
        chance = graph.add("Sigmoid", [chance])
    if stop.flipped:
        chance = graph.add("Sub", [graph.constant(np.asarray(1, np.float32)), chance])
    flat = graph.add("Reshape", [chance, graph.constant(np.asarray([1, -1], np.int64))])
    several = rank > 0 and np.prod(loop.shape_of(flat)) > 1
    if several:
        flat = reduced(graph, "ReduceMin" if stop.wants_all else "ReduceMax", flat, [1])
    return graph.add("Reshape", [flat, graph.constant(np.asarray([1], np.int64))])


def _live(loop: LoopValues, outputs: list[str]) -> dict[str, Carried]:
    """Return, by their names in the step, the states on which outputs hang, directly or through others."""
    found: list[Carried] = []
    todo = list(outputs)
    while todo:
        sources = loop.graph.sources(todo.pop())
        new = [item for item in loop.states if item.before in sources and item not in found]
        found += new
        todo += [item.after for item in new]
    names: dict[str, Carried] = {}
    for item in loop.states:
        if item in found:
            axes = next(edge.axes for edge in loop.graph.inputs if edge.name == item.before)
            kind = "attended" if loop.examples.axis in (axes or ()) else "state"
            names[f"{kind}_{sum(name.startswith(kind) for name in names) + 1}"] = item
    return names


def _extract(
    loop: LoopValues, outputs: Mapping[str, str], live: Mapping[str, Carried]
) -> tuple[Graph, dict[str, str]]:
    graph = loop.graph
    named = dict(outputs)
    for name, item in live.items():
        alone = item.after not in named and graph.producer(item.after) is not None
        named[item.after if alone else graph.add("Identity", [item.after])] = name + NEXT
    for tensor in [tensor for tensor in outputs if graph.producer(tensor) is None]:
        named[graph.add("Identity", [tensor])] = named.pop(tensor)
    names = {item.before: name for name, item in live.items()} | {loop.body.index: POSITION}
    inputs = {edge.name: replace(edge, name=names.get(edge.name, edge.name)) for edge in graph.inputs}
    step = graph.extract(inputs, {tensor: Edge(name, "float32", None) for tensor, name in named.items()})
    return fold(step), {name: name + NEXT for name in live}


def _expose_alignment(step: Graph, shapes: Shapes, axis: str) -> None:
    alignment = find_alignment(step, shapes, axis)
    if alignment is None:
        return
    if step.is_output(alignment):
        alignment = step.add("Identity", [alignment])
    step.rename(alignment, ALIGNMENT)
    step.outputs.append(Edge(ALIGNMENT, "float32", (BATCH, axis)))


def _hoist(loop: LoopValues, step: Graph, shapes: Shapes) -> dict[str, str]:
    """Move what is the same in each step to before the Loop; return new held inputs and their tensors."""
    held = {edge.name: edge for edge in step.inputs if edge.name in loop.outer}
    part = hoist(step, held, shapes)
    names = join_graphs(loop.main, part, loop.outer, BODY)
    return {edge.name: names[edge.name] for edge in part.outputs}


def _name_held(step: Graph, held: list[str]) -> dict[str, str]:
    """Rename the held inputs that are read: what the weights meet is the memory; return the new names."""
    step.prune()
    used = {name for node in step.nodes for name in node.input}
    step.inputs = [edge for edge in step.inputs if edge.name in used]
    met = {name for node in _behind(step, ALIGNMENT) for name in node.input}
    names: dict[str, str] = {}
    for name in dict.fromkeys(name for name in held if name in used):
        is_memory = name in met and MEMORY not in names.values()
        names[name] = MEMORY if is_memory else f"held_{len(names) + 1}"
    for old, new in names.items():
        step.rename(old, new)
    step.inputs = [replace(edge, name=names.get(edge.name, edge.name)) for edge in step.inputs]
    return names


def _behind(step: Graph, tensor: str) -> list[onnx.NodeProto]:
    """Return the products that read weights, also through a change of their layout."""
    found: list[onnx.NodeProto] = []
    for node in step.users(tensor):
        if node.op_type in ("Mul", "MatMul"):
            found.append(node)
        elif node.op_type in ("Unsqueeze", "Reshape", "Transpose", "Identity"):
            found += _behind(step, node.output[0])
    return found


def _feeds(
    loop: LoopValues, step: Graph, outer: Mapping[str, str], states: Mapping[str, str]
) -> list[dict[str, Constant]]:
    """Return what a step takes at the beginning of two utterances."""
    examples = loop.examples
    names = {edge.name for edge in step.inputs}
    outer = {name: tensor for name, tensor in outer.items() if name in names}
    values = examples.values(list(outer.values()))
    runs: list[dict[str, Constant]] = []
    for number in range(len(examples.steps)):
        feeds = {name: values[tensor][number] for name, tensor in outer.items()}
        feeds |= {name: loop.first[before][number] for name, before in states.items()}
        for edge in step.inputs:
            if edge.name not in feeds:
                shape = [1 if axis == BATCH else int(axis) for axis in edge.axes or ()]
                feeds[edge.name] = np.zeros(shape, edge.dtype)
        runs.append(feeds)
    return runs


def _describe(loop: LoopValues, step: Graph, feeds: list[dict[str, Constant]]) -> None:
    """Write down dtype and axes of a step's inputs and outputs, from one step of two utterances."""
    examples = loop.examples
    names = [edge.name for edge in step.outputs]
    runs = [{**feed, **run_tensors(step, names, feed)} for feed in feeds]

    def described(edge: Edge) -> Edge:
        arrays = [run[edge.name] for run in runs]
        axes = common_axes([a.shape for a in arrays], examples.steps, axis=examples.axis, of=edge.name)
        return Edge(edge.name, arrays[0].dtype.name, axes)

    step.inputs = [described(edge) for edge in step.inputs]
    step.outputs = [described(edge) for edge in step.outputs]
