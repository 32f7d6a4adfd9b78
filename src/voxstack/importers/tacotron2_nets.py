"""Cut an attention-based mel model that makes frames in a Loop into encoder, step and postnet."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx

from voxstack.core.errors import ImporterError
from voxstack.importers.cut_net import CutNet, net_of, ragged, ragged_whole
from voxstack.importers.graphs.folding import fold
from voxstack.importers.graphs.graph import Edge, Graph
from voxstack.importers.graphs.lstm_loops import replace_lstms
from voxstack.importers.graphs.mask_views import mask_from_lengths
from voxstack.importers.graphs.masking import mask_padding
from voxstack.importers.graphs.reach import measure_reach
from voxstack.importers.graphs.shapes import float_edges
from voxstack.importers.graphs.speed import speed_up
from voxstack.importers.graphs.tidying import tidy
from voxstack.importers.graphs.views import lay_channels_first
from voxstack.importers.loops.cut import LoopParts, cut_loop
from voxstack.importers.loops.views import Framing, find_frames, unselected
from voxstack.importers.tacotron2_landmarks import inputs_of, model_inputs, refined_output, symbols_of

__all__ = ["COARSE", "LENGTHS", "MEL", "AttentionParts", "cut_attention", "encoder_of"]

Json = dict[str, Any]

COARSE = "coarse_mel"
MEL = "mel"
FUSING = ("Conv", "Add", "Mul", "Tanh")
LSTM_LENGTHS = 4
"""Which input of the LSTM operator says how many steps there are."""

LENGTHS = (9, 14)
"""Two utterances, to learn from which sizes follow the number of symbols."""


@dataclass(frozen=True)
class AttentionParts:
    """Hold the nets, and what they were made from.

    loop      the model, cut around its Loop
    framing   how many frames a step gives, and how many bands they have
    refined   the mels behind the Loop, before frames are selected
    inputs    names of ids, lengths, speaker → the model's own
    """

    nets: Mapping[str, CutNet]
    loop: LoopParts
    framing: Framing
    refined: str
    inputs: Mapping[str, str]


def cut_attention(model: onnx.ModelProto) -> AttentionParts:
    """Cut a model; what comes out computes the same.

    Raises:   ImporterError saying which part of such a graph was looked for in vain
    """
    whole = Graph.read(model)
    inputs = inputs_of(whole)
    wanted = refined_output(whole)
    examples = [
        model_inputs(whole, inputs, np.arange(length) % symbols_of(whole, inputs)) for length in LENGTHS
    ]
    loop = cut_loop(model, examples, steps=LENGTHS, outputs=[wanted], dropout="noise")
    if len(loop.pieces) != 1:
        raise ImporterError(f"its Loop collects {len(loop.pieces)} tensors that become '{wanted}', want one")
    if loop.stop.tensor is None:
        raise ImporterError("its Loop makes a fixed number of frames, so nobody knows where the speech ends")
    (piece,) = loop.pieces
    refined = unselected(loop.after, wanted)
    framing = find_frames(loop.after, piece, refined)
    nets = {
        "encoder": encoder_of(loop, inputs, symbols_of(whole, inputs), fast=True),
        "step": _step(loop, piece, framing),
        "postnet": _postnet(loop, framing, refined),
    }
    return AttentionParts(nets, loop, framing, refined, inputs)


def encoder_of(loop: LoopParts, inputs: Mapping[str, str], symbols: int, *, fast: bool) -> CutNet:
    """Let the part before the Loop take 64-bit ids and lengths, as a front end gives them.

    In:       fast   whether Loops in it that are LSTMs become the LSTM operator
    """
    graph = loop.before.extract(
        {edge.name: edge for edge in loop.before.inputs}, {edge.name: edge for edge in loop.before.outputs}
    )
    axes = {"ids": ("batch", "phonemes"), "lengths": ("batch",)}
    own = {edge.name: edge for edge in graph.inputs}
    graph.inputs = []
    for name, old in inputs.items():
        if old not in own:
            continue
        inner = old
        if own[old].dtype != "int64":
            code = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(own[old].dtype))
            inner = graph.add("Cast", [name], {"to": code})
        for node in graph.users(old):
            node.input[:] = [
                (inner if inner != old else name) if other == old else other for other in node.input
            ]
        graph.changed()
        graph.inputs.append(Edge(name, "int64", axes[name]))
    if fast:
        replace_lstms(graph)
        fold(graph)
    return net_of(graph, role="encoder", ragged=_told(graph, symbols))


def _told(graph: Graph, symbols: int) -> Json:
    """Let the part before the Loop know what is padding, by the lengths if it takes them; return `ragged`.

    Masks as long as the longest utterance become as long as the ids are: then all sizes follow from theirs.
    """
    if not any(edge.name == "lengths" for edge in graph.inputs):
        return ragged_whole(graph, "phonemes", symbols=symbols)
    graph.prune()
    for node in [node for node in graph.nodes if node.op_type == "Less"]:
        if graph.sources(node.output[0]) == {"lengths"}:
            graph.replace(node.output[0], mask_from_lengths(graph, "lengths", "ids"))
    count = graph.add("Cast", ["lengths"], {"to": onnx.TensorProto.INT32})
    for node in graph.nodes:
        if node.op_type == "LSTM" and len(node.input) > LSTM_LENGTHS:
            node.input[LSTM_LENGTHS] = count
    graph.changed()
    fold(graph)
    mask_padding(graph, "phonemes", lengths="lengths", symbols=symbols)
    return ragged("phonemes", chunkable=False, lengths="lengths")


def _step(loop: LoopParts, piece: str, framing: Framing) -> CutNet:
    """Lay out what a step collects as its frames, and mask padding; else nothing is changed, to the last bit.

    The axes of size one have no common name in the file: a runtime that knew them to be equal would fuse
    sums otherwise than it does in the Loop, and a loop makes 0.1 of a rounding error within 100 steps.
    """
    step = loop.step
    inner = f"{piece}.flat"
    graph = step.extract(
        {edge.name: edge for edge in step.inputs}, {edge.name: edge for edge in step.outputs}
    )
    graph.rename(piece, inner)
    shape = graph.constant(np.asarray([1, framing.per_step, framing.bands]))
    graph.rename(graph.add("Reshape", [inner, shape]), COARSE)
    frames = Edge(COARSE, "float32", ("batch", framing.per_step, framing.bands))
    graph.outputs = [frames if edge.name == piece else edge for edge in graph.outputs]
    along = ragged_whole(graph, "phonemes")
    net = net_of(graph, role="step", ragged=along, random=loop.noise, state=loop.state)
    graph.inputs = [_alone(edge) for edge in graph.inputs]
    graph.outputs = [_alone(edge) for edge in graph.outputs]
    return CutNet(graph.model(), net.spec)


def _alone(edge: Edge) -> Edge:
    """Give an edge's batch axis a name of its own."""
    axes = tuple(f"batch_of_{edge.name}" if axis == "batch" else axis for axis in edge.axes or ())
    return replace(edge, axes=axes)


def _postnet(loop: LoopParts, framing: Framing, refined: str) -> CutNet:
    wide = ("batch", "frames", framing.bands)
    graph = loop.after.extract(
        {framing.tensor: Edge(COARSE, "float32", wide)}, {refined: Edge(MEL, "float32", wide)}
    )
    lay_channels_first(graph, COARSE)
    tidy(graph)
    lay_channels_first(graph, MEL)
    tidy(graph)
    reach = measure_reach(graph, "frames")
    if reach.hop != 1:
        raise ImporterError(f"its postnet gives {reach.hop} frames a frame, want 1")
    along = ragged("frames", chunkable=reach.obstacle is None, context=reach.context)
    speed_up(graph)
    return net_of(graph, role="decoder", ragged=along, known=float_edges(graph, FUSING))
