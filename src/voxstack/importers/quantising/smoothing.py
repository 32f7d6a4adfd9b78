"""Move what is uneven among an activation's channels into weights, so that one scale fits all channels.

    Conv ─► LeakyRelu ─► Conv          the first one's rows · s, the second one's columns / s

The net computes what it did: LeakyRelu passes positive factors through. Where an activation stands behind a
depthwise identity (graphs/speed.py puts one there), the factors cost nothing at all.

Source:   Xiao et al. 2023, SmoothQuant, equation 4, with exponent 0.5
"""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from voxstack.importers.graphs.graph import Graph
from voxstack.importers.quantising.ranges import Seen

__all__ = ["smooth"]

MOST_FACTOR = 20.0


def smooth(graph: Graph, convolutions: Sequence[onnx.NodeProto], seen: Mapping[str, Seen]) -> dict[str, Seen]:
    """Rewrite in place, before what these convolutions read; return what is seen then."""
    result = dict(seen)
    for tensor in dict.fromkeys(node.input[0] for node in convolutions):
        maker = _scalable_maker(graph, tensor)
        if maker is None:
            continue
        readers = graph.users(tensor)
        weights = [_constant(graph, node.input[1]) for node in readers]
        factors = _factors(seen[tensor], weights)
        maker.input[1] = graph.constant(_rows(_constant(graph, maker.input[1]), factors))
        if len(maker.input) > 2:
            maker.input[2] = graph.constant(_constant(graph, maker.input[2]) * factors)
        for node, weight in zip(readers, weights, strict=True):
            node.input[1] = graph.constant(_columns(weight, factors))
        graph.changed()
        result[tensor] = seen[tensor].scaled(factors)
    return result


def _scalable_maker(graph: Graph, tensor: str) -> onnx.NodeProto | None:
    """Return the convolution whose rows become a tensor's channels, if all that lies around allows it."""
    activation = graph.producer(tensor)
    if activation is None or activation.op_type != "LeakyRelu" or graph.is_output(tensor):
        return None
    before = activation.input[0]
    maker = graph.producer(before)
    constant = maker is not None and all(name in graph.constants for name in maker.input[1:])
    if maker is None or maker.op_type != "Conv" or not constant or graph.is_output(before):
        return None
    readers = graph.users(tensor)
    plain = all(node.op_type == "Conv" and _group(node) == 1 for node in readers)
    plain = plain and all(
        node.input[1] in graph.constants and tensor not in node.input[1:] for node in readers
    )
    return maker if plain and len(graph.users(before)) == 1 else None


def _factors(seen: Seen, weights: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return what makes an activation's channels as uneven as the weights' columns become."""
    activation = np.maximum(np.maximum(seen.high, -seen.low), 1e-9)
    weight = np.max([np.abs(_by_column(one)).max(axis=1) for one in weights], axis=0)
    factors = np.sqrt(np.maximum(weight, 1e-9)) / np.sqrt(activation)
    factors = factors / np.exp(np.log(factors).mean())
    return np.clip(factors, 1 / MOST_FACTOR, MOST_FACTOR).astype(np.float32)


def _by_column(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.moveaxis(weight, 1, 0).reshape(weight.shape[1], -1)


def _rows(weight: NDArray[np.float32], factors: NDArray[np.float32]) -> NDArray[np.float32]:
    return weight * factors.reshape(-1, *([1] * (weight.ndim - 1)))


def _columns(weight: NDArray[np.float32], factors: NDArray[np.float32]) -> NDArray[np.float32]:
    return weight / factors.reshape(1, -1, *([1] * (weight.ndim - 2)))


def _constant(graph: Graph, name: str) -> NDArray[np.float32]:
    return graph.constants[name]


def _group(node: onnx.NodeProto) -> int:
    return next((entry.i for entry in node.attribute if entry.name == "group"), 1)
