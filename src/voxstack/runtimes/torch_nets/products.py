"""Multiply matrices: of numbers, and of the whole numbers of a quantised net."""

from collections.abc import Mapping

import torch

from voxstack.runtimes.torch_nets.operators import Node, Operator

__all__ = ["OPERATORS"]

Tensor = torch.Tensor


def _matmul(node: Node, a: Tensor, b: Tensor) -> Tensor:
    del node
    return torch.matmul(a, b)


def _gemm(node: Node, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    a = a.T if node.get("transA", 0) else a
    b = b.T if node.get("transB", 0) else b
    y = torch.matmul(a, b)
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    y = y if alpha == 1 else y * alpha
    if c is None:
        return y
    return y + (c if beta == 1 else c * beta)


def _einsum(node: Node, *values: Tensor) -> Tensor:
    return torch.einsum(node.attributes["equation"], *values)


OPERATORS: Mapping[str, Operator] = {
    "MatMul": Operator(_matmul),
    "Gemm": Operator(_gemm),
    "Einsum": Operator(_einsum),
}
