"""Normalise tensors: softmax, and by the statistics of a batch, an instance, a layer or a group."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch.nn import functional

from voxstack.runtimes.torch_nets.operators import Node, Operator, sizes

__all__ = ["OPERATORS"]

Tensor = torch.Tensor


def _softmax(function: Callable[..., Tensor]) -> Operator:
    def run(node: Node, x: Tensor) -> Tensor:
        if node.opset >= 13:
            return function(x, node.get("axis", -1))
        # Before opset 13 the tensor is a matrix, cut in two at the axis.
        old = sizes(x)
        rows = int(np.prod(old[: node.get("axis", 1) % max(len(old), 1)]))
        return function(x.reshape(rows, -1), 1).reshape(old)

    return Operator(run)


def _per_channel(x: Tensor, values: Tensor) -> Tensor:
    return values.reshape([1, -1, *[1] * (x.ndim - 2)])


def _batch(node: Node, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    return functional.batch_norm(x, mean, variance, scale, bias, eps=node.get("epsilon", 1e-5))


def _instance(node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    # Not functional.instance_norm: that refuses one step, where the variance is 0.
    eps = node.get("epsilon", 1e-5)
    return torch.instance_norm(x, scale, bias, None, None, True, 0.0, eps, torch.backends.cudnn.enabled)


def _layer(node: Node, x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:
    axis = node.get("axis", -1) % x.ndim
    eps = node.get("epsilon", 1e-5)
    shape = sizes(x)[axis:]
    if sizes(scale) == shape and (bias is None or sizes(bias) == shape):
        y = functional.layer_norm(x, shape, scale, bias, eps)
    else:
        y = functional.layer_norm(x, shape, eps=eps) * scale
        y = y if bias is None else y + bias
    if not (node.wants(1) or node.wants(2)):
        return y
    axes = list(range(axis, x.ndim))
    mean = x.mean(axes, keepdim=True)
    return y, mean, ((x - mean).square().mean(axes, keepdim=True) + eps).rsqrt()


def _root_mean_square(node: Node, x: Tensor, scale: Tensor) -> Tensor:
    axis = node.get("axis", -1) % x.ndim
    return functional.rms_norm(x, sizes(x)[axis:], eps=node.get("epsilon", 1e-5)) * scale


def _group(node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    groups = node.attributes["num_groups"]
    y = functional.group_norm(x, groups, eps=node.get("epsilon", 1e-5))
    if node.opset < 21:  # one value a group
        members = sizes(x)[1] // groups
        scale, bias = scale.repeat_interleave(members), bias.repeat_interleave(members)
    return y * _per_channel(x, scale) + _per_channel(x, bias)


def _norm(node: Node, x: Tensor) -> Tensor:
    axis, order = node.get("axis", -1), node.get("p", 2)
    total = x.abs().sum(axis, keepdim=True) if order == 1 else x.square().sum(axis, keepdim=True).sqrt()
    return torch.where(total == 0, total, x / total)


OPERATORS: Mapping[str, Operator] = {
    "Softmax": _softmax(torch.softmax),
    "LogSoftmax": _softmax(torch.log_softmax),
    "BatchNormalization": Operator(
        _batch, refuses=lambda node: "training_mode" if node.get("training_mode", 0) else ""
    ),
    "InstanceNormalization": Operator(_instance),
    "LayerNormalization": Operator(_layer),
    "RMSNormalization": Operator(_root_mean_square),
    "GroupNormalization": Operator(_group),
    "LpNormalization": Operator(_norm),
}
