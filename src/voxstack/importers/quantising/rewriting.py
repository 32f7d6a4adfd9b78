"""Write convolutions of a graph as 8-bit ones, in standard operators that every engine reads.

    x ─► QuantizeLinear ─► (Pad) ─► DequantizeLinear ──┐
                        int8 weight ─► DequantizeLinear ┴─► Conv

Wide padding stands between the two, filled with the zero point, which is what 0 is: OpenVINO's fast 8-bit
kernels take convolutions with little padding only (measured: 4 is little).
"""

import copy
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper

from voxstack.importers.graphs.graph import Graph, attributes
from voxstack.importers.quantising.ranges import Seen
from voxstack.importers.quantising.scales import activation_scale, round_weight, weight_scales

__all__ = ["with_int8"]

LITTLE_PADDING = 4


def with_int8(graph: Graph, outputs: Sequence[str], seen: Mapping[str, Seen]) -> Graph:
    """Return a copy of a graph in which the convolutions that make these tensors compute in 8 bits."""
    result = copy.deepcopy(graph)
    writer = _Writer(result, seen)
    for name in outputs:
        node = result.producer(name)
        assert node is not None
        writer.quantise(node)
    result.prune()
    return result


class _Writer:
    """Write one convolution after another; those that read one tensor share its integers."""

    def __init__(self, graph: Graph, seen: Mapping[str, Seen]) -> None:
        self.graph = graph
        self.seen = seen
        self._integers: dict[str, tuple[str, str, str]] = {}
        self._floats: dict[tuple[str, tuple[int, ...]], str] = {}

    def quantise(self, node: onnx.NodeProto) -> None:
        pads = self._wide_padding(node)
        activation, weight = node.input[0], self.graph.constants[node.input[1]]
        node.input[0] = self._activation(activation, pads)
        node.input[1] = self._weight(weight)
        if pads:
            (entry,) = [entry for entry in node.attribute if entry.name == "pads"]
            entry.CopyFrom(helper.make_attribute("pads", [0] * len(pads)))
        self.graph.changed()

    def _wide_padding(self, node: onnx.NodeProto) -> tuple[int, ...]:
        pads = attributes(node).get("pads")
        sizes = tuple(int(pad) for pad in pads) if isinstance(pads, list) else ()
        return sizes if max(sizes, default=0) > LITTLE_PADDING else ()

    def _activation(self, tensor: str, pads: tuple[int, ...]) -> str:
        if tensor not in self._integers:
            scale, zero = (
                self.graph.constant(np.asarray(number)) for number in activation_scale(self.seen[tensor])
            )
            self._integers[tensor] = self.graph.add("QuantizeLinear", [tensor, scale, zero]), scale, zero
        if (tensor, pads) not in self._floats:
            integers, scale, zero = self._integers[tensor]
            if pads:
                half = len(pads) // 2
                width = np.asarray([0, 0, *pads[:half], 0, 0, *pads[half:]], np.int64)
                integers = self.graph.add("Pad", [integers, self.graph.constant(width), zero])
            self._floats[tensor, pads] = self.graph.add("DequantizeLinear", [integers, scale, zero])
        return self._floats[tensor, pads]

    def _weight(self, weight: np.ndarray) -> str:
        scales = weight_scales(weight)
        integers = (round_weight(weight, scales), scales, np.zeros(len(scales), np.int8))
        return self.graph.add(
            "DequantizeLinear", [self.graph.constant(array) for array in integers], {"axis": 0}
        )
