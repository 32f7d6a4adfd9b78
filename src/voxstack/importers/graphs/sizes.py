"""Count steps on an axis in terms of the graph's free axes: a number, or like 256 · frames + 3."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Entries", "Shape", "Shapes", "Size", "arithmetic", "broadcast", "entries", "flat"]


@dataclass(frozen=True, slots=True)
class Size:
    """Count steps on an axis: scale · (length of the free axis `axis`) + offset; a number if axis is ""."""

    axis: str
    scale: int
    offset: int

    @classmethod
    def number(cls, value: int) -> "Size":
        return cls("", 0, value)

    @property
    def known(self) -> int | None:
        return self.offset if not self.axis else None

    def plus(self, other: "Size", sign: int = 1) -> "Size | None":
        if self.axis and other.axis and self.axis != other.axis:
            return None
        scale = self.scale + sign * other.scale
        return Size(self.axis or other.axis if scale else "", scale, self.offset + sign * other.offset)

    def times(self, other: "Size") -> "Size | None":
        if self.axis and other.axis:
            return None
        free, factor = (self, other.offset) if self.axis else (other, self.offset)
        return Size(free.axis if factor else "", free.scale * factor, free.offset * factor)

    def over(self, number: int | None) -> "Size | None":
        """Return the size divided as integers are, if the rest does not depend on the free axis."""
        if not number or number < 0 or self.offset < 0 or self.scale % number:
            return None
        return Size(self.axis, self.scale // number, self.offset // number)


Shape = tuple[Size | None, ...]
Entries = NDArray[np.object_]  # of Size | None


@dataclass(frozen=True)
class Shapes:
    """Hold what is known: `of[tensor]` a shape, `values[tensor]` the entries of a tensor made of sizes."""

    of: dict[str, Shape]
    values: dict[str, Entries]

    def sizes(self, tensor: str) -> Shape | None:
        """Return the entries of a vector (or the one of a scalar) that holds sizes."""
        entries = self.values.get(tensor)
        return None if entries is None or entries.ndim > 1 else flat(entries)

    def same(self, left: str, right: str) -> bool:
        """Say whether two tensors surely have the same shape."""
        one, other = self.of.get(left), self.of.get(right)
        return one is not None and one == other and None not in one


def flat(sizes: Entries) -> Shape:
    """Return the entries of a tensor of sizes in order."""
    return tuple(sizes.reshape(-1).tolist())


def entries(shape: Shape) -> Entries:
    """Return sizes as a vector that numpy can slice and join."""
    vector = np.empty(len(shape), object)
    vector[:] = shape
    return vector


def arithmetic(op: str, left: Size | None, right: Size | None) -> Size | None:
    """Return the size that `op` (Add, Sub, Mul, Div, Max) makes of two; None if it is not known."""
    if left is None or right is None:
        return None
    if op == "Div":
        return left.over(right.known)
    if op == "Max":
        both = left.known, right.known
        return Size.number(max(both[0], both[1])) if both[0] is not None and both[1] is not None else None
    return left.times(right) if op == "Mul" else left.plus(right, 1 if op == "Add" else -1)


def broadcast(shapes: Sequence[Shape | None]) -> Shape | None:
    """Return the shape of tensors combined element by element; None if any is not known."""
    if not shapes or any(shape is None for shape in shapes):
        return None
    kept = [shape for shape in shapes if shape is not None]
    rank = max(len(shape) for shape in kept)
    result: list[Size | None] = []
    for place in range(rank):
        sizes = [shape[place - rank + len(shape)] for shape in kept if place - rank + len(shape) >= 0]
        wide = {size for size in sizes if size != Size.number(1)}
        result.append(wide.pop() if len(wide) == 1 else Size.number(1) if not wide else None)
    return tuple(result)
