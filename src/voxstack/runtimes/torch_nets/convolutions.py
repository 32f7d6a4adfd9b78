"""Convolve and pool over one, two or three axes, with ONNX's rules for padding."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch.nn import functional

from voxstack.runtimes.torch_nets.operators import Node, Operator, sizes

__all__ = ["OPERATORS"]

Tensor = torch.Tensor

CONVOLUTIONS = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}
TRANSPOSED = {1: torch.conv_transpose1d, 2: torch.conv_transpose2d, 3: torch.conv_transpose3d}
MEANS = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}
MAXIMA = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}


def _pads(node: Node, steps: Sequence[int], kernel: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return how far each axis is padded before its begin and behind its end.

    In:       steps   of the input
              kernel  span of each axis, with its dilation
    """
    rank = len(kernel)
    how = node.get("auto_pad", "NOTSET")
    if how == "NOTSET":
        pads = node.get("pads", [0] * 2 * rank)
        return pads[:rank], pads[rank:]
    if how == "VALID":
        return [0] * rank, [0] * rank
    strides = node.get("strides", [1] * rank)
    whole = [
        max((math.ceil(size / stride) - 1) * stride + span - size, 0)
        for size, stride, span in zip(steps, strides, kernel, strict=True)
    ]
    less, more = [pad // 2 for pad in whole], [pad - pad // 2 for pad in whole]
    return (less, more) if how == "SAME_UPPER" else (more, less)


def _padded(x: Tensor, before: Sequence[int], behind: Sequence[int], value: float = 0.0) -> Tensor:
    flat = [pad for pair in reversed(list(zip(before, behind, strict=True))) for pad in pair]
    return functional.pad(x, flat, value=value) if any(flat) else x


def _spans(kernel: Sequence[int], dilations: Sequence[int]) -> list[int]:
    return [(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)]


def _conv(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    kernel = sizes(weight)[2:]
    rank = len(kernel)
    dilations = node.get("dilations", [1] * rank)
    before, behind = _pads(node, sizes(x)[2:], _spans(kernel, dilations))
    if before != behind:
        x, before = _padded(x, before, behind), [0] * rank
    strides = node.get("strides", [1] * rank)
    return CONVOLUTIONS[rank](x, weight, bias, strides, before, dilations, node.get("group", 1))


def _conv_transpose(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    kernel = sizes(weight)[2:]
    rank = len(kernel)
    dilations, strides = node.get("dilations", [1] * rank), node.get("strides", [1] * rank)
    extra = node.get("output_padding", [0] * rank)
    spans = _spans(kernel, dilations)
    old = sizes(x)[2:]
    whole = [
        (size - 1) * by + span + more for size, by, span, more in zip(old, strides, spans, extra, strict=True)
    ]
    before, behind = _cropped(node, old, strides, whole)
    if before == behind:
        crop, before, behind = before, [0] * rank, [0] * rank
    else:
        crop = [0] * rank
    y = TRANSPOSED[rank](x, weight, bias, strides, crop, extra, node.get("group", 1), dilations)
    return _padded(y, [-pad for pad in before], [-pad for pad in behind])


def _cropped(
    node: Node, old: Sequence[int], strides: Sequence[int], whole: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Return how much a transposed convolution leaves out at the begin and the end of each axis."""
    rank = len(old)
    how = node.get("auto_pad", "NOTSET")
    wanted = node.get("output_shape")
    if wanted is None and how in ("NOTSET", "VALID"):
        pads = node.get("pads", [0] * 2 * rank) if how == "NOTSET" else [0] * 2 * rank
        return pads[:rank], pads[rank:]
    shape = (
        wanted[-rank:] if wanted is not None else [size * by for size, by in zip(old, strides, strict=True)]
    )
    left_out = [size - want for size, want in zip(whole, shape, strict=True)]
    less, more = [size // 2 for size in left_out], [size - size // 2 for size in left_out]
    return (less, more) if how == "SAME_UPPER" else (more, less)


def _max_pool(node: Node, x: Tensor) -> Tensor:
    kernel = node.attributes["kernel_shape"]
    rank = len(kernel)
    dilations = node.get("dilations", [1] * rank)
    before, behind = _pads(node, sizes(x)[2:], _spans(kernel, dilations))
    x = _padded(x, before, behind, -math.inf)
    return MAXIMA[rank](x, kernel, node.get("strides", [1] * rank), 0, dilations)


def _average_pool(node: Node, x: Tensor) -> Tensor:
    kernel = node.attributes["kernel_shape"]
    rank = len(kernel)
    strides = node.get("strides", [1] * rank)
    before, behind = _pads(node, sizes(x)[2:], kernel)
    y = MEANS[rank](_padded(x, before, behind), kernel, strides)
    if node.get("count_include_pad", 0) or not any(before + behind):
        return y
    ones = _padded(torch.ones_like(x), before, behind)
    return y / MEANS[rank](ones, kernel, strides)


def _refused_pool(node: Node) -> str:
    if node.get("ceil_mode", 0):
        return "ceil_mode"
    if node.op == "AveragePool" and any(size != 1 for size in node.get("dilations", [])):
        return "dilations"
    return "indices as an output" if node.wants(1) else ""


def _global_mean(node: Node, x: Tensor) -> Tensor:
    del node
    return x.mean(list(range(2, x.ndim)), keepdim=True)


def _global_max(node: Node, x: Tensor) -> Tensor:
    del node
    return x.amax(list(range(2, x.ndim)), keepdim=True)


OPERATORS: Mapping[str, Operator] = {
    "Conv": Operator(_conv),
    "ConvTranspose": Operator(_conv_transpose),
    "MaxPool": Operator(_max_pool, refuses=_refused_pool),
    "AveragePool": Operator(_average_pool, refuses=_refused_pool),
    "GlobalAveragePool": Operator(_global_mean),
    "GlobalMaxPool": Operator(_global_max),
}
