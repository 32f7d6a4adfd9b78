"""Cut a monolithic VITS graph into encoder, duration, flow and decoder nets that an addon can hold.

A family of voices shares this graph: Piper's exports, and others of the same paper.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from voxstack.core.errors import ImporterError
from voxstack.importers.cut_net import CutNet, net_of, ragged
from voxstack.importers.graphs.attention import narrow_attention
from voxstack.importers.graphs.folding import fold
from voxstack.importers.graphs.gates import split_gates
from voxstack.importers.graphs.graph import Edge, Graph
from voxstack.importers.graphs.lift import lift_convolutions
from voxstack.importers.graphs.masking import mask_padding
from voxstack.importers.graphs.norms import join_norms
from voxstack.importers.graphs.reach import measure_reach
from voxstack.importers.graphs.shapes import float_edges
from voxstack.importers.graphs.speed import speed_up
from voxstack.importers.graphs.splines import straighten_splines
from voxstack.importers.vits_landmarks import Landmarks, find_landmarks

__all__ = ["VitsParts", "cut_vits"]

Json = dict[str, Any]
FUSING = ("Conv", "Add", "Sub", "Mul", "LeakyRelu", "Tanh", "Sigmoid")


@dataclass(frozen=True)
class VitsParts:
    """Hold what a VITS graph was cut into, and what was learnt on the way.

    whole      the model as it was, folded, to check the parts against
    marks      where it was cut
    hop        samples per frame
    speakers   how many voices it has; 1 where it takes no speaker
    symbols    how many rows its phoneme table has: ids are below it
    """

    nets: Mapping[str, CutNet]
    whole: Graph
    marks: Landmarks
    hop: int
    speakers: int
    symbols: int


def cut_vits(model: onnx.ModelProto) -> VitsParts:
    """Cut a model; what comes out computes the same, with noise as inputs.

    Raises: ImporterError saying which part of a VITS graph was looked for in vain.
    """
    whole = fold(Graph.read(model))
    marks = find_landmarks(whole)
    cutter = _Cutter(whole, marks)
    nets = {
        "encoder": cutter.encoder(),
        "duration": cutter.duration(),
        "flow": cutter.flow(),
        "decoder": cutter.decoder(),
    }
    return VitsParts(
        nets=nets,
        whole=whole,
        marks=marks,
        hop=nets["decoder"].spec["ragged"]["hop"],
        speakers=cutter.speakers,
        symbols=_symbols(whole, marks),
    )


class _Cutter:
    """Cut net after net from one graph; channel counts are read from its shapes."""

    def __init__(self, whole: Graph, marks: Landmarks) -> None:
        self.whole = whole
        self.marks = marks
        self.hidden = self._channels(marks.hidden)
        self.latent = self._channels(marks.latent)
        self.speakers = _speakers(whole, marks)

    def encoder(self) -> CutNet:
        marks = self.marks
        inputs = {marks.ids: Edge("ids", "int64", ("batch", "phonemes"))}
        if marks.lengths:
            inputs[marks.lengths] = Edge("lengths", "int64", ("batch",))
        outputs = {
            marks.hidden: Edge("hidden", "float32", ("batch", self.hidden, "phonemes")),
            marks.means: Edge("mean", "float32", ("batch", "phonemes", self.latent)),
            marks.log_stds: Edge("log_std", "float32", ("batch", "phonemes", self.latent)),
        }
        if marks.speaker and marks.conditioning:
            inputs[marks.speaker] = Edge("speaker", "int64", ("batch",))
            outputs[marks.conditioning] = self._conditioning()
        graph = self.whole.extract(inputs, outputs)
        for name in ("mean", "log_std"):
            _transpose_output(graph, name, self.latent)
        lengths = "lengths" if marks.lengths else None
        narrow_attention(fold(graph))
        join_norms(graph)
        lift_convolutions(graph)
        return _net(fold(graph), "encoder", ragged("phonemes", chunkable=False, lengths=lengths))

    def duration(self) -> CutNet:
        marks = self.marks
        inputs = {
            marks.hidden: Edge("hidden", "float32", ("batch", self.hidden, "phonemes")),
            marks.phonemes_mask: Edge("phonemes_mask", "float32", ("batch", 1, "phonemes")),
        }
        if marks.duration_noise:
            inputs[marks.duration_noise] = Edge("duration_noise", "float32", ("batch", 2, "phonemes"))
        if marks.duration_noise and marks.duration_noise_scale:
            inputs[self._lone(marks.duration_noise, marks.duration_noise_scale)] = Edge(
                "noise_w", "float32", ()
            )
        self._condition(inputs)
        graph = self.whole.extract(
            inputs, {marks.durations: Edge("durations", "float32", ("batch", 1, "phonemes"))}
        )
        _squeeze_output(graph, "durations", ("batch", "phonemes"))
        straighten_splines(graph)
        join_norms(fold(graph))
        lift_convolutions(graph)
        along = ragged("phonemes", chunkable=False, mask="phonemes_mask")
        mask_padding(fold(graph), "phonemes", mask="phonemes_mask")
        return _net(graph, "encoder", along, random=("duration_noise",))

    def flow(self) -> CutNet:
        marks = self.marks
        wide = ("batch", self.latent, "frames")
        if not marks.frame_noise_scale:
            raise ImporterError(
                "the prior's noise is not scaled; a voice of this family scales it by a control"
            )
        inputs = {
            marks.frames_mean: Edge("mean", "float32", wide),
            marks.frames_log_std: Edge("log_std", "float32", wide),
            marks.frame_noise: Edge("frame_noise", "float32", wide),
            self._lone(marks.frame_noise, marks.frame_noise_scale): Edge("noise", "float32", ()),
            marks.frames_mask: Edge("frames_mask", "float32", ("batch", 1, "frames")),
        }
        self._condition(inputs)
        graph = fold(self.whole.extract(inputs, {marks.latent: Edge("latent", "float32", wide)}))
        reach = measure_reach(graph, "frames")
        along = ragged(
            "frames",
            chunkable=reach.obstacle is None,
            context=reach.context,
            hop=reach.hop,
            mask="frames_mask",
        )
        split_gates(graph)
        speed_up(graph)
        mask_padding(graph, "frames", mask="frames_mask")
        return _net(graph, "decoder", along, random=("frame_noise",))

    def decoder(self) -> CutNet:
        marks = self.marks
        inputs = {marks.latent: Edge("latent", "float32", ("batch", self.latent, "frames"))}
        self._condition(inputs)
        graph = self.whole.extract(
            inputs, {marks.samples: Edge("samples", "float32", ("batch", 1, "samples"))}
        )
        _squeeze_output(graph, "samples", ("batch", "samples"))
        fold(graph)
        reach = measure_reach(graph, "frames")
        along = ragged("frames", chunkable=reach.obstacle is None, context=reach.context, hop=reach.hop)
        speed_up(graph)
        return _net(graph, "decoder", along)

    def _channels(self, tensor: str) -> int:
        """Return the channels of [batch, channels, time], as a convolution that reads it tells."""
        for node in self.whole.users(tensor):
            weight = (
                self.whole.value(node.input[1])
                if node.op_type == "Conv" and node.input[0] == tensor
                else None
            )
            if weight is not None:
                return int(weight.shape[1])
        raise ImporterError(
            "no convolution with constant weights reads a tensor of the hidden or latent channels"
        )

    def _conditioning(self) -> Edge:
        return Edge("conditioning", "float32", ("batch", self._channels(self.marks.conditioning or ""), 1))

    def _condition(self, inputs: dict[str, Edge]) -> None:
        if self.marks.conditioning:
            inputs[self.marks.conditioning] = self._conditioning()

    def _lone(self, noise: str, scale: str) -> str:
        """Return the scale as a tensor that nothing but this noise's product reads."""
        if scale not in self.whole.constants:
            return scale
        tensor = noise
        while scale not in (node := self.whole.users(tensor)[0]).input:
            tensor = node.output[0]
        name = self.whole.constant(self.whole.constants[scale])
        node.input[:] = [name if other == scale else other for other in node.input]
        self.whole.changed()
        return name


def _net(graph: Graph, role: str, along: Json, *, random: tuple[str, ...] = ()) -> CutNet:
    """Return a graph as a net; mask and lengths only where it takes them."""
    present = {edge.name for edge in graph.inputs}
    for key in ("mask", "lengths"):
        if along[key] not in present:
            along[key] = None
    # Where all is float, a runtime is told the inner shapes: it then sees which sums fuse.
    known = float_edges(graph, FUSING) if role == "decoder" else ()
    return net_of(graph, role=role, ragged=along, random=dict.fromkeys(random, "normal"), known=known)


def _speakers(graph: Graph, marks: Landmarks) -> int:
    """Count the rows of the table that the speaker's number picks from."""
    if marks.speaker is None:
        return 1
    tables = [
        graph.constants[node.input[0]]
        for node in graph.users(marks.speaker)
        if node.op_type == "Gather" and node.input[0] in graph.constants
    ]
    if len(tables) != 1:
        raise ImporterError("the speaker's number does not pick a row of one table")
    return int(tables[0].shape[0])


def _symbols(graph: Graph, marks: Landmarks) -> int:
    """Count the rows of the phoneme table."""
    tables = [graph.value(node.input[0]) for node in graph.users(marks.ids) if node.op_type == "Gather"]
    sizes = [table.shape[0] for table in tables if table is not None]
    if len(sizes) != 1:
        raise ImporterError("the ids do not pick rows of one phoneme table")
    return sizes[0]


def _transpose_output(graph: Graph, name: str, channels: int) -> None:
    """Turn an output [batch, phonemes, channels] to [batch, channels, phonemes]."""
    inner = f"{name}.by_time"
    graph.rename(name, inner)
    turned = graph.add("Transpose", [inner], {"perm": [0, 2, 1]})
    _give(graph, turned, Edge(name, "float32", ("batch", channels, "phonemes")))


def _squeeze_output(graph: Graph, name: str, axes: tuple[str | int, ...]) -> None:
    """Drop an output's axis 1, which holds one channel."""
    inner = f"{name}.channel"
    graph.rename(name, inner)
    squeezed = graph.add("Squeeze", [inner, graph.constant(np.asarray([1], np.int64))])
    _give(graph, squeezed, Edge(name, "float32", axes))


def _give(graph: Graph, tensor: str, edge: Edge) -> None:
    """Let a tensor be the output that an edge describes, under the edge's name."""
    graph.rename(tensor, edge.name)
    graph.outputs = [edge if other.name == edge.name else other for other in graph.outputs]
