"""Tell what a Loop carries: held tensors, counters, flags, state; and with what it all begins."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from onnx import helper

from voxstack.importers.graphs.graph import Constant, Edge, Graph
from voxstack.importers.graphs.hoisting import by_shape_only
from voxstack.importers.graphs.measuring import Examples, run_tensors
from voxstack.importers.loops.body import Carried, LoopBody, growth
from voxstack.importers.loops.stop import StopRule

__all__ = ["BATCH", "LoopValues", "counted"]

BATCH = "batch"


@dataclass
class LoopValues:
    """A Loop's body beside the graph that it stood in, and what two utterances begin with.

    main     the graph without the Loop
    first    what each carried value begins with, in each utterance
    fixed    those that begin the same in every utterance
    grows    counters, and by how much each step
    outer    held tensors of the body → their names in the main graph
    """

    main: Graph
    body: LoopBody
    examples: Examples
    first: dict[str, tuple[Constant, ...]] = field(init=False)
    fixed: dict[str, Constant] = field(init=False)
    grows: dict[str, int] = field(init=False)
    outer: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        items = self.body.carried
        found = self.examples.values([item.first for item in items])
        self.first = {item.before: found[item.first] for item in items}
        self.fixed = {
            item.before: self.first[item.before][0]
            for item in items
            if by_shape_only(self.main, item.first) and equal(self.first[item.before])
        }
        self.grows = {}
        for item in items:
            by = growth(self.graph, item)
            if by is not None and item.before in self.fixed:
                self.grows[item.before] = by
        self.outer = {}
        self._describe()

    @property
    def graph(self) -> Graph:
        return self.body.graph

    @property
    def states(self) -> list[Carried]:
        """What is carried and changes."""
        return [item for item in self.body.carried if item.after != item.before]

    def begins_with_zeros(self, item: Carried) -> bool:
        """Say whether a state begins with zeros in every utterance, however long."""
        return by_shape_only(self.main, item.first) and not any(map(np.any, self.first[item.before]))

    def shape_of(self, tensor: str) -> tuple[int, ...]:
        """Return the shape of a tensor of the body in the first step of the first utterance."""
        feeds = {name: values[0] for name, values in self.first.items()}
        for edge in self.graph.inputs:  # the step's number, and noise
            if edge.name not in feeds:
                shape = [1 if axis == BATCH else int(axis) for axis in edge.axes or ()]
                feeds[edge.name] = np.zeros(shape, edge.dtype)
        return run_tensors(self.graph, [tensor], feeds)[tensor].shape

    def drawn_axes(self, tensor: str) -> tuple[str | int, ...]:
        """Return the axes of what a step draws at random."""
        shape = self.shape_of(tensor)
        return (BATCH, *shape[1:]) if shape[:1] == (1,) else shape

    def settle(self, stop: StopRule) -> None:
        """Put constants for flags that are never set at a step's beginning, and the position for counters."""
        graph = self.graph
        for name in stop.flags:
            graph.constants[name] = self.fixed[name]
        graph.inputs = [edge for edge in graph.inputs if edge.name not in stop.flags]
        for name, by in self.grows.items():
            graph.replace(name, counted(graph, self.body.index, by, self.fixed[name]))
        graph.changed()

    def _describe(self) -> None:
        """Write down the axes of what the body carries; what is held and always the same is a constant."""
        graph = self.graph
        edges = {edge.name: edge for edge in graph.inputs}
        kept: list[Edge] = []
        known: dict[str, str] = {}
        for item in self.body.carried:
            if item.after == item.before and item.before in self.fixed:
                graph.constants[item.before] = self.fixed[item.before]
                continue
            if item.after == item.before and item.first in known:
                graph.replace(item.before, known[item.first])
                continue
            if item.after == item.before:
                known[item.first] = item.before
                self.outer[item.before] = item.first
            values = self.first[item.before]
            axes = self.examples.axes(values, of=item.first)
            kept.append(replace(edges[item.before], axes=axes, dtype=values[0].dtype.name))
        graph.inputs = [*kept, Edge(self.body.index, "int64", ())]
        graph.changed()


def counted(graph: Graph, number: str, by: int, first: Constant) -> str:
    """Return a tensor that holds `first + by · number` in the dtype of `first`."""
    number = graph.add("Cast", [number], {"to": helper.np_dtype_to_tensor_dtype(first.dtype)})
    grown = graph.add("Mul", [number, graph.constant(np.asarray(by, first.dtype))])
    return graph.add("Add", [grown, graph.constant(first)])


def equal(values: Sequence[Constant]) -> bool:
    return all(np.array_equal(values[0], value) for value in values[1:])
