"""Draw inputs of a net for some steps along its ragged axis, and pad them on the right with anything."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from voxstack.importers.graphs.graph import Constant, Edge

__all__ = ["Padding", "draw_inputs"]

Tensors = dict[str, Constant]
BATCH = "batch"


@dataclass(frozen=True)
class Padding:
    """`steps` steps along `axis`, padded on the right to `size`; and how a net is told.

    mask      name of the input that is 1 inside and 0 in padding
    lengths   name of the input that holds the number of steps
    symbols   whole numbers along the axis are below it
    """

    axis: str
    steps: int
    size: int
    mask: str | None = None
    lengths: str | None = None
    symbols: int = 1

    def padded(
        self,
        edges: Iterable[Edge],
        feeds: Mapping[str, Constant],
        random: np.random.Generator,
        *,
        fill: float | None = None,
    ) -> Tensors:
        """Return inputs with padding: floats hold `fill`, any number where it is None; ids any valid one."""
        made = dict(feeds)
        for edge in edges:
            for place in _places(edge, self.axis):
                values = made[edge.name]
                shape = list(values.shape)
                shape[place] = self.size - self.steps
                if edge.name == self.mask or edge.dtype == "bool":
                    tail = np.zeros(shape)
                elif edge.dtype.startswith("int"):
                    tail = random.integers(0, self.symbols, shape)
                else:
                    tail = random.standard_normal(shape) if fill is None else np.full(shape, fill)
                made[edge.name] = np.concatenate([values, tail.astype(values.dtype)], axis=place)
        return made

    def inside(self, edge: Edge, values: Constant) -> Constant:
        """Return an output without its padding."""
        for place in _places(edge, self.axis):
            values = values.take(range(self.steps), axis=place)
        return values


def draw_inputs(
    edges: Iterable[Edge],
    padding: Padding,
    random: np.random.Generator,
    known: Mapping[str, Constant] | None = None,
) -> Tensors:
    """Return inputs of a net for an utterance of `padding.steps`, not padded; `known` ones, where they fit.

    Single numbers are 1 where they are floats, 0 where they are whole; free axes of other names are empty.
    """
    feeds: Tensors = {}
    sizes = {padding.axis: padding.steps, BATCH: 1}
    for edge in edges:
        axes = edge.axes or ()
        shape = [sizes.get(axis, 0) if isinstance(axis, str) else axis for axis in axes]
        given = known.get(edge.name) if known is not None else None
        if given is not None and list(given.shape) == shape:
            values = given
        elif edge.name == padding.lengths:
            values = np.full(shape, padding.steps)
        elif edge.name == padding.mask or edge.dtype == "bool":
            values = np.ones(shape)
        elif edge.dtype.startswith("int"):
            values = random.integers(0, padding.symbols if padding.axis in axes else 1, shape)
        else:
            values = random.standard_normal(shape) if axes else np.ones(shape)
        feeds[edge.name] = np.asarray(values, edge.dtype)
    return feeds


def _places(edge: Edge, axis: str) -> list[int]:
    return [place for place, name in enumerate(edge.axes or ()) if name == axis]
