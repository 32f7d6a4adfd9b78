"""Rearrange tensors without changing their values: reshape, transpose, join, split, repeat, fill."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from voxstack.core.ports import Array
from voxstack.runtimes.torch_nets.operators import Node, Operator, numpy_dtype, sizes

__all__ = ["OPERATORS", "axes_of", "reshaped", "split_sizes", "stretched", "transposed"]

Tensor = torch.Tensor


def axes_of(node: Node, given: Array | None, rank: int) -> list[int]:
    """Return a node's axes, ascending, from the front; before opset 13 an attribute had them."""
    axes = node.get("axes", []) if given is None else given.tolist()
    return sorted(axis % rank for axis in axes)


def reshaped(node: Node, old: Sequence[int], wanted: Array) -> list[int]:
    """Return the shape that Reshape means; 0 stands for the old size."""
    if node.get("allowzero", 0):
        return wanted.tolist()
    return [old[axis] if size == 0 else size for axis, size in enumerate(wanted.tolist())]


def transposed(node: Node, rank: int) -> list[int]:
    """Return the order of axes that Transpose means; without any it turns them round."""
    return node.get("perm", list(range(rank))[::-1])


def stretched(old: Sequence[int], wanted: Sequence[int]) -> list[int]:
    """Return the shape that Expand means: both may be longer than the other where it has 1."""
    rank = max(len(old), len(wanted))
    pairs = zip([1] * (rank - len(old)) + list(old), [1] * (rank - len(wanted)) + list(wanted), strict=True)
    return [size if want == 1 else want for size, want in pairs]


def split_sizes(node: Node, size: int, given: Array | None) -> list[int]:
    """Return the lengths of the parts that Split makes of an axis."""
    if given is not None:
        return given.tolist()
    if "split" in node.attributes:
        return node.attributes["split"]
    parts = node.get("num_outputs", len(node.gives))
    part = -(-size // parts)
    return [min(part, size - start) for start in range(0, size, part)]


def _shape(node: Node, x: Tensor) -> Array:
    return np.array(sizes(x)[node.get("start", 0) : node.get("end")], np.int64)


def _size(node: Node, x: Tensor) -> Array:
    del node
    return np.array(np.prod(sizes(x)), np.int64)


def _reshape(node: Node, x: Tensor, shape: Array) -> Tensor:
    return x.reshape(reshaped(node, sizes(x), shape))


def _flatten(node: Node, x: Tensor) -> Tensor:
    axis = node.get("axis", 1)
    old = sizes(x)
    before = old[: axis % len(old) if axis < 0 else axis]
    return x.reshape(int(np.prod(before)), int(np.prod(old[len(before) :])))


def _squeeze(node: Node, x: Tensor, axes: Array | None = None) -> Tensor:
    if axes is None and "axes" not in node.attributes:
        return x.reshape([size for size in sizes(x) if size != 1])
    return x.squeeze(axes_of(node, axes, x.ndim))


def _unsqueeze(node: Node, x: Tensor, axes: Array | None = None) -> Tensor:
    count = len(node.get("axes", [])) if axes is None else axes.size
    for axis in axes_of(node, axes, x.ndim + count):
        x = x.unsqueeze(axis)
    return x


def _transpose(node: Node, x: Tensor) -> Tensor:
    return x.permute(transposed(node, x.ndim))


def _expand(node: Node, x: Tensor, shape: Array) -> Tensor:
    del node
    return x.expand(stretched(sizes(x), shape.tolist()))


def _tile(node: Node, x: Tensor, repeats: Array) -> Tensor:
    del node
    return x.repeat(repeats.tolist())


def _concat(node: Node, *values: Tensor) -> Tensor:
    return torch.cat(values, node.attributes["axis"])


def _split(node: Node, x: Tensor, parts: Array | None = None) -> tuple[Tensor, ...]:
    axis = node.get("axis", 0)
    return x.split(split_sizes(node, sizes(x)[axis], parts), axis)


def _constant_of_shape(node: Node, like: Tensor, shape: Array) -> Tensor:
    value = node.get("value", np.zeros(1, np.float32))
    dtype = like.dtype if value.dtype.kind == "f" else numpy_dtype(value)
    number = int(value.item()) if value.dtype.kind == "b" else value.item()  # torch.jit.trace takes no truths
    return torch.full(shape.tolist(), number, dtype=dtype, device=like.device)


def _range(node: Node, like: Tensor, start: Array, limit: Array, step: Array) -> Tensor:
    del node
    dtype = like.dtype if start.dtype.kind == "f" else numpy_dtype(start)
    return torch.arange(start.item(), limit.item(), step.item(), dtype=dtype, device=like.device)


OPERATORS: Mapping[str, Operator] = {
    "Shape": Operator(_shape),
    "Size": Operator(_size),
    "Reshape": Operator(_reshape, known=(1,)),
    "Flatten": Operator(_flatten),
    "Squeeze": Operator(_squeeze, known=(1,)),
    "Unsqueeze": Operator(_unsqueeze, known=(1,)),
    "Transpose": Operator(_transpose),
    "Expand": Operator(_expand, known=(1,)),
    "Tile": Operator(_tile, known=(1,)),
    "Concat": Operator(_concat),
    "Split": Operator(_split, known=(1,)),
    "ConstantOfShape": Operator(_constant_of_shape, known=(0,), places=True),
    "Range": Operator(_range, known=(0, 1, 2), places=True),
}
