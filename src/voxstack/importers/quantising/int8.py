"""Make the 8-bit file of a net: calibrated on some utterances, chosen and judged on others.

It is for OpenVINO on processors with 8-bit dot products (measured on one thread, all else in bfloat16: 0.38
of the float net's time on ONNX Runtime, bfloat16 alone 0.49). ONNX Runtime itself takes 1.1 times as long for
it as for the float net: it leaves its blocked layout around each convolution.

Source:   Wu et al. 2020, Integer quantization for deep learning inference, sections 3 and 4
"""

from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from voxstack.core.closeness import Closeness
from voxstack.core.errors import ImporterError
from voxstack.importers.graphs.graph import Graph
from voxstack.importers.quantising.choosing import Limits, choose, convolutions, multiplications
from voxstack.importers.quantising.ranges import watch
from voxstack.importers.quantising.running import Feeds
from voxstack.importers.quantising.smoothing import smooth

__all__ = ["Int8Net", "quantise"]

OPSET = 13
"""The first in which weights have a scale for each channel."""

LIMITS = Limits()


@dataclass(frozen=True)
class Int8Net:
    """A net with some convolutions in 8 bits, and what was measured of it.

    chosen      how many of its convolutions
    of          how many it has
    share       of the multiplications that those chosen do, 0 to 1
    closeness   of its first output to the float net's, on utterances that calibrated nothing
    """

    model: onnx.ModelProto
    chosen: int
    of: int
    share: float
    closeness: Closeness

    def fact(self) -> tuple[str, str]:
        """Return it as a label and a value for people."""
        many = f"{self.chosen} of {self.of} convolutions, {self.share:.0%} of their multiplications"
        return "int8", f"{many}; {self.closeness.line()}; speak with --profile int8"


def quantise(
    model: onnx.ModelProto,
    calibration: Sequence[Feeds],
    held_out: Sequence[Feeds],
    limits: Limits = LIMITS,
) -> Int8Net:
    """Return a net in which as many convolutions compute in 8 bits as the limits allow.

    In:       calibration   what the net takes in real utterances; ranges are those of these
              held_out      likewise, others; the limits hold on these, for the net's first output
    Raises:   ImporterError if nothing can be quantised
    """
    graph = _read(model)
    if graph.opset < OPSET:
        raise ImporterError(f"got a net of ONNX opset {graph.opset}; for int8 it must be {OPSET} or newer")
    candidates = convolutions(graph)
    if not candidates:
        raise ImporterError("it has no convolution with constant weights; import without int8")
    seen = watch(graph, [node.input[0] for node in candidates], calibration)
    seen = smooth(graph, candidates, seen)
    work = {node.output[0]: multiplications(graph, node, seen) for node in candidates}
    found = choose(graph, seen, held_out, limits)
    return Int8Net(
        model=found.graph.model(),
        chosen=len(found.outputs),
        of=len(candidates),
        share=sum(work[name] for name in found.outputs) / sum(work.values()),
        closeness=found.closeness,
    )


def _read(model: onnx.ModelProto) -> Graph:
    """Read a model so that no new tensor can have the name of an old one."""
    graph = Graph.read(model)
    return graph.extract(
        {edge.name: edge for edge in graph.inputs}, {edge.name: edge for edge in graph.outputs}
    )
