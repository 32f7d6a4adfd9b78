"""Choose and place elements: gather, slice, scatter, one-hot, triangles, reversed sequences."""

from collections.abc import Mapping

import numpy as np
import torch

from voxstack.core.ports import Array
from voxstack.runtimes.torch_nets.operators import Node, Operator, sizes

__all__ = ["OPERATORS", "reverse_sequences", "slices_of"]

Tensor = torch.Tensor

REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}
"""How ONNX combines what falls on one place → what torch calls it."""


def slices_of(
    node: Node,
    old: list[int],
    starts: Array | None,
    ends: Array | None,
    axes: Array | None,
    steps: Array | None,
) -> dict[int, slice]:
    """Return what Slice takes of each axis; ONNX counts as Python does."""
    first = node.attributes["starts"] if starts is None else starts.tolist()
    last = node.attributes["ends"] if ends is None else ends.tolist()
    along = node.get("axes", list(range(len(first)))) if axes is None else axes.tolist()
    every = [1] * len(first) if steps is None else steps.tolist()
    return {
        axis % len(old): slice(start, end, step)
        for axis, start, end, step in zip(along, first, last, every, strict=True)
    }


def _slice(
    node: Node,
    x: Tensor,
    starts: Array | None = None,
    ends: Array | None = None,
    axes: Array | None = None,
    steps: Array | None = None,
) -> Tensor:
    old = sizes(x)
    for axis, part in slices_of(node, old, starts, ends, axes, steps).items():
        start, end, step = part.indices(old[axis])
        if step > 0:
            x = x[(slice(None),) * axis + (slice(start, max(start, end), step),)]
        else:
            x = x.index_select(axis, torch.arange(start, end, step, device=x.device))
    return x


def _counted(indices: Tensor, size: int) -> Tensor:
    """Return indices counted from the front; ONNX counts negative ones from the end."""
    indices = indices.long()
    return torch.where(indices < 0, indices + size, indices)


def _gather(node: Node, x: Tensor, indices: Tensor | Array) -> Tensor:
    axis = node.get("axis", 0) % x.ndim
    if isinstance(indices, np.ndarray):
        return x.select(axis, indices.item())
    if indices.ndim == 0:  # as an index torch would ask for its value
        return x.index_select(axis, _counted(indices, sizes(x)[axis]).reshape(1)).squeeze(axis)
    return x[(slice(None),) * axis + (indices.long(),)]


def _gather_elements(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    axis = node.get("axis", 0) % x.ndim
    return x.gather(axis, _counted(indices, sizes(x)[axis]))


def _gather_nd(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    batches = node.get("batch_dims", 0)
    shared = []
    for axis, size in enumerate(sizes(x)[:batches]):
        places = torch.arange(size, device=x.device)
        shared.append(places.reshape([-1 if at == axis else 1 for at in range(indices.ndim - 1)]))
    return x[(*shared, *indices.long().unbind(-1))]


def _scatter_nd(node: Node, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    old, inner = sizes(x), sizes(indices)[-1]
    flat = torch.zeros(sizes(indices)[:-1], dtype=torch.long, device=x.device)
    for axis, index in enumerate(indices.unbind(-1)):
        flat = flat * old[axis] + _counted(index, old[axis])
    rows = x.reshape(int(np.prod(old[:inner])), -1)
    places = flat.reshape(-1, 1).expand(-1, sizes(rows)[1])
    values = updates.reshape(sizes(places))
    return _scattered(node, rows, 0, places, values).reshape(old)


def _scatter_elements(node: Node, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    axis = node.get("axis", 0) % x.ndim
    return _scattered(node, x, axis, _counted(indices, sizes(x)[axis]), updates)


def _scattered(node: Node, x: Tensor, axis: int, places: Tensor, values: Tensor) -> Tensor:
    how = node.get("reduction", "none")
    if how == "none":
        return x.scatter(axis, places, values)
    return x.scatter_reduce(axis, places, values, REDUCTIONS[how])


def _one_hot(node: Node, indices: Tensor, depth: Array, values: Tensor) -> Tensor:
    size = int(depth.item())
    axis = node.get("axis", -1) % (indices.ndim + 1)
    shape = [size if at == axis else 1 for at in range(indices.ndim + 1)]
    places = torch.arange(size, device=indices.device).reshape(shape)
    return torch.where(_counted(indices, size).unsqueeze(axis) == places, values[1], values[0])


def _non_zero(node: Node, x: Tensor) -> Tensor:
    del node
    return x.nonzero().T


def _triangle(node: Node, x: Tensor, diagonal: Array | None = None) -> Tensor:
    offset = 0 if diagonal is None else int(diagonal.item())
    return x.triu(offset) if node.get("upper", 1) else x.tril(offset)


def _cumulative_sum(node: Node, x: Tensor, axis: Array) -> Tensor:
    along = int(axis.item())
    turned = x.flip(along) if node.get("reverse", 0) else x
    total = turned.cumsum(along).to(x.dtype)
    if node.get("exclusive", 0):
        total = total - turned
    return total.flip(along) if node.get("reverse", 0) else total


def reverse_sequences(x: Tensor, lengths: Tensor) -> Tensor:
    """Turn round the first `lengths` steps of each sequence; the others stay.

    In:       x        [T, B, …]
              lengths  [B]
    """
    steps, batch = sizes(x)[:2]
    at = torch.arange(steps, device=x.device).unsqueeze(1)
    ends = lengths.long().unsqueeze(0)
    return x[torch.where(at < ends, ends - 1 - at, at), torch.arange(batch, device=x.device)]


def _reverse_sequence(node: Node, x: Tensor, lengths: Tensor) -> Tensor:
    if node.get("time_axis", 0) == 0:
        return reverse_sequences(x, lengths)
    return reverse_sequences(x.transpose(0, 1), lengths).transpose(0, 1)


OPERATORS: Mapping[str, Operator] = {
    "Slice": Operator(_slice, known=(1, 2, 3, 4)),
    "Gather": Operator(_gather, numbers=(1,)),
    "GatherElements": Operator(_gather_elements),
    "GatherND": Operator(_gather_nd),
    "ScatterND": Operator(_scatter_nd),
    "ScatterElements": Operator(_scatter_elements),
    "OneHot": Operator(_one_hot, known=(1,)),
    "NonZero": Operator(_non_zero),
    "Trilu": Operator(_triangle, known=(1,)),
    "CumSum": Operator(_cumulative_sum, known=(1,)),
    "ReverseSequence": Operator(_reverse_sequence),
}
