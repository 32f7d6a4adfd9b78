"""Lay out a net's mask so that it broadcasts against any of its tensors: as flags, or as factors."""

from dataclasses import dataclass, field

import numpy as np
import onnx

from voxstack.importers.graphs.graph import Edge, Graph
from voxstack.importers.graphs.padded import Padding

__all__ = ["MaskViews", "mask_from_lengths"]

BY_CHANNEL = 3
"""Axes of a mask [batch, 1, steps]; others are [batch, steps]."""


@dataclass
class MaskViews:
    """Views of the mask that a net takes, or that is made of the lengths it takes; each is made once."""

    graph: Graph
    padding: Padding
    made: dict[tuple[str, int, int], str] = field(default_factory=dict[tuple[str, int, int], str])
    told: Edge | None = None

    def flags(self, rank: int, place: int) -> str:
        """Return bools for a tensor of so many axes, of which the ragged one is at `place`."""
        return self._view("bool", rank, place % rank)

    def factors(self, rank: int, place: int) -> str:
        """Return ones and zeros, likewise."""
        return self._view("float32", rank, place % rank)

    def _view(self, dtype: str, rank: int, place: int) -> str:
        key = dtype, rank, place
        if key not in self.made:
            if self.told is None:
                self.told = self._find()
            tensor = self.told.name
            if self.told.dtype != dtype:
                code = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
                tensor = self.graph.add("Cast", [tensor], {"to": code})
            self.made[key] = self._laid(tensor, len(self.told.axes or ()), rank, place)
        return self.made[key]

    def _find(self) -> Edge:
        axis, lengths = self.padding.axis, self.padding.lengths
        for edge in self.graph.inputs:
            if edge.name == self.padding.mask:
                return edge
        (like, *_) = [edge.name for edge in self.graph.inputs if (edge.axes or ())[:2] == ("batch", axis)]
        assert lengths is not None
        return Edge(mask_from_lengths(self.graph, lengths, like), "bool", ("batch", axis))

    def _laid(self, tensor: str, has: int, rank: int, place: int) -> str:
        if place == 0:
            return self._by("Reshape", tensor, [-1] + [1] * (rank - 1))
        if has == BY_CHANNEL and place == rank - 1 > 1:
            return self._by("Unsqueeze", tensor, list(range(2, place)))
        if has == BY_CHANNEL:
            tensor = self._by("Squeeze", tensor, [1])
        return self._by("Unsqueeze", tensor, [axis for axis in range(1, rank) if axis != place])

    def _by(self, op: str, tensor: str, numbers: list[int]) -> str:
        if not numbers:
            return tensor
        return self.graph.add(op, [tensor, self.graph.constant(np.asarray(numbers, np.int64))])


def mask_from_lengths(graph: Graph, lengths: str, like: str) -> str:
    """Return a new bool tensor [batch, steps]: which steps are inside.

    In:       lengths  tensor [batch], the number of steps
              like     tensor [batch, steps, …] that has the axis
    """
    shape = graph.add("Shape", [like])
    size = graph.add("Gather", [shape, graph.constant(np.asarray(1, np.int64))], {"axis": 0})
    zero, one = (graph.constant(np.asarray(number, np.int64)) for number in (0, 1))
    places = graph.add("Range", [zero, size, one])
    column = graph.add("Unsqueeze", [lengths, graph.constant(np.asarray([1], np.int64))])
    return graph.add("Less", [places, column])
