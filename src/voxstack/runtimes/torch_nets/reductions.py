"""Reduce tensors along axes: sums, extremes, means, norms, and where the extremes are."""

from collections.abc import Callable, Mapping

import torch

from voxstack.core.ports import Array
from voxstack.runtimes.torch_nets.operators import Node, Operator
from voxstack.runtimes.torch_nets.shapes import axes_of

__all__ = ["OPERATORS", "reduced_axes"]

Tensor = torch.Tensor


def reduced_axes(node: Node, axes: Array | None, rank: int) -> list[int]:
    """Return the axes that a reduction means: without any it is all of them, unless it says otherwise."""
    found = axes_of(node, axes, rank) if rank else []
    return found or ([] if node.get("noop_with_empty_axes", 0) else list(range(rank)))


def _reduction(function: Callable[[Tensor, list[int], bool], Tensor]) -> Operator:
    def run(node: Node, x: Tensor, axes: Array | None = None) -> Tensor:
        along = reduced_axes(node, axes, x.ndim)
        return function(x, along, bool(node.get("keepdims", 1))) if along else x

    return Operator(run, known=(1,))


def _sum(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return x.sum(axes, keepdim=keep, dtype=x.dtype)


def _product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in reversed(axes):
        x = x.prod(axis, keepdim=keep, dtype=x.dtype)
    return x


def _extreme(function: Callable[..., Tensor]) -> Operator:
    def run(node: Node, x: Tensor) -> Tensor:
        axis = node.get("axis", 0) % x.ndim
        keep = bool(node.get("keepdims", 1))
        if not node.get("select_last_index", 0):
            return function(x, axis, keepdim=keep)
        return x.shape[axis] - 1 - function(x.flip(axis), axis, keepdim=keep)

    return Operator(run)


OPERATORS: Mapping[str, Operator] = {
    "ReduceSum": _reduction(_sum),
    "ReduceMean": _reduction(lambda x, axes, keep: x.mean(axes, keepdim=keep)),
    "ReduceMax": _reduction(lambda x, axes, keep: x.amax(axes, keepdim=keep)),
    "ReduceMin": _reduction(lambda x, axes, keep: x.amin(axes, keepdim=keep)),
    "ReduceProd": _reduction(_product),
    "ReduceL1": _reduction(lambda x, axes, keep: _sum(x.abs(), axes, keep)),
    "ReduceL2": _reduction(lambda x, axes, keep: _sum(x * x, axes, keep).sqrt()),
    "ReduceLogSum": _reduction(lambda x, axes, keep: _sum(x, axes, keep).log()),
    "ReduceLogSumExp": _reduction(lambda x, axes, keep: x.logsumexp(axes, keepdim=keep)),
    "ReduceSumSquare": _reduction(lambda x, axes, keep: _sum(x * x, axes, keep)),
    "ArgMax": _extreme(torch.argmax),
    "ArgMin": _extreme(torch.argmin),
}
