"""Quantise numbers and take them back, as nets of whole numbers do."""

from collections.abc import Mapping

import torch

from voxstack.runtimes.torch_nets.operators import Node, Operator, dtype_of, sizes

__all__ = ["OPERATORS"]

Tensor = torch.Tensor

UINT8 = 2
"""ONNX's number of the dtype in which a net is quantised that does not say so."""


def _along(values: Tensor, rank: int, axis: int) -> Tensor:
    """Return one value, or one for each place of an axis, so that it stretches over a tensor."""
    if rank == 0 or all(size == 1 for size in sizes(values)):
        return values.reshape(())
    return values.reshape([-1 if at == axis % rank else 1 for at in range(rank)])


def _quantise(node: Node, like: Tensor, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    number = node.get("output_dtype", 0) or UINT8
    dtype = dtype_of(number, like) if zero is None else zero.dtype
    axis = node.get("axis", 1)
    steps = torch.round(x / _along(scale, x.ndim, axis))
    if zero is not None:
        steps = steps + _along(zero, x.ndim, axis)
    limits = torch.iinfo(dtype)
    return steps.clamp(limits.min, limits.max).to(dtype)


def _dequantise(node: Node, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    axis = node.get("axis", 1)
    steps = x.to(scale.dtype)
    if zero is not None:
        steps = steps - _along(zero, x.ndim, axis).to(scale.dtype)
    return steps * _along(scale, x.ndim, axis)


def _quantise_by_range(node: Node, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    del node
    low, high = x.amin().clamp(max=0), x.amax().clamp(min=0)
    scale = (high - low) / 255
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    zero = torch.round(-low / scale).clamp(0, 255)
    return (torch.round(x / scale) + zero).clamp(0, 255).to(torch.uint8), scale, zero.to(torch.uint8)


def _centred(x: Tensor, zero: Tensor | None, axis: int) -> Tensor:
    """Return whole numbers as f64, which holds every sum of them exactly."""
    return x.double() if zero is None else x.double() - _along(zero, x.ndim, axis).double()


def _matmul(
    node: Node, a: Tensor, b: Tensor, a_zero: Tensor | None = None, b_zero: Tensor | None = None
) -> Tensor:
    del node
    return torch.matmul(_centred(a, a_zero, -2), _centred(b, b_zero, -1)).to(torch.int32)


OPERATORS: Mapping[str, Operator] = {
    "QuantizeLinear": Operator(
        _quantise, places=True, refuses=lambda node: "block_size" if node.get("block_size", 0) else ""
    ),
    "DequantizeLinear": Operator(
        _dequantise, refuses=lambda node: "block_size" if node.get("block_size", 0) else ""
    ),
    "DynamicQuantizeLinear": Operator(_quantise_by_range),
    "MatMulInteger": Operator(_matmul),
}
