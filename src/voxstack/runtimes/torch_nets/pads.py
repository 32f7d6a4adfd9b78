"""Pad tensors at their ends, with a value or with what they hold."""

from collections.abc import Mapping

import numpy as np
import torch
from torch.nn import functional

from voxstack.core.ports import Array
from voxstack.runtimes.torch_nets.operators import Node, Operator, constant, sizes

__all__ = ["OPERATORS"]

Tensor = torch.Tensor

FAST = {"reflect": "reflect", "edge": "replicate"}
"""ONNX's modes that torch has a kernel for → torch's name."""

Pairs = list[tuple[int, int]]


def _pad(
    node: Node,
    x: Tensor,
    pads: Array | None = None,
    value: Tensor | Array | None = None,
    axes: Array | None = None,
) -> Tensor:
    flat = node.attributes["pads"] if pads is None else pads.tolist()
    along = list(range(x.ndim)) if axes is None else [axis % x.ndim for axis in axes.tolist()]
    pairs = [(0, 0)] * x.ndim
    for place, axis in enumerate(along):
        pairs[axis] = (flat[place], flat[place + len(along)])
    mode = node.get("mode", "constant")
    if mode != "constant":
        return _with_its_own(x, pairs, mode)
    number = node.get("value", 0.0) if value is None else value.item()
    return functional.pad(x, [pad for pair in reversed(pairs) for pad in pair], value=number)


def _with_its_own(x: Tensor, pairs: Pairs, mode: str) -> Tensor:
    old = sizes(x)
    if mode in FAST and _has_kernel(x, pairs, old):
        inner = [pad for pair in reversed(pairs[-(x.ndim - 2) :]) for pad in pair]
        return functional.pad(x, inner, FAST[mode])
    for axis, (before, behind) in enumerate(pairs):
        if before or behind:
            kept = np.arange(old[axis])[max(-before, 0) : old[axis] + min(behind, 0)]
            # numpy's modes have ONNX's names and mean the same.
            places = np.pad(kept, (max(before, 0), max(behind, 0)), mode)  # pyright: ignore[reportCallIssue, reportArgumentType]
            x = x.index_select(axis, constant(places, x.device))
    return x


def _has_kernel(x: Tensor, pairs: Pairs, old: list[int]) -> bool:
    return (
        x.ndim in (3, 4, 5)
        and x.is_floating_point()
        and not any(before or behind for before, behind in pairs[:2])
        and all(0 <= pad < size for pair, size in zip(pairs, old, strict=True) for pad in pair)
    )


OPERATORS: Mapping[str, Operator] = {"Pad": Operator(_pad, known=(1, 3), numbers=(2,))}
