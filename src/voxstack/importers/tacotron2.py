"""Cut an attention-based mel model that makes frames in a Loop into encoder, step and postnet."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime import InferenceSession

from voxstack.core.errors import ImporterError
from voxstack.importers.batching import batch_fact, freed
from voxstack.importers.cut_net import CutNet, net_of, ragged, ragged_whole
from voxstack.importers.graphs.folding import fold
from voxstack.importers.graphs.graph import Constant, Edge, Graph
from voxstack.importers.graphs.lstm_loops import replace_lstms
from voxstack.importers.graphs.mask_views import mask_from_lengths
from voxstack.importers.graphs.masking import mask_padding
from voxstack.importers.graphs.measuring import run, run_tensors
from voxstack.importers.graphs.reach import measure_reach
from voxstack.importers.graphs.shapes import float_edges
from voxstack.importers.graphs.speed import speed_up
from voxstack.importers.graphs.tidying import tidy
from voxstack.importers.graphs.views import lay_channels_first
from voxstack.importers.loops.cut import LoopParts, cut_loop
from voxstack.importers.loops.parity import LoopChain, Uncut, plain_session
from voxstack.importers.loops.views import Framing, find_frames, unselected
from voxstack.importers.mel_addon import Source, write_voice
from voxstack.importers.padding import check_padding, padding_fact
from voxstack.importers.vits_parity import TOLERANCE
from voxstack.importers.writing import AddonReport

__all__ = ["AttentionParts", "check_attention", "cut_attention", "import_model", "model_inputs"]

Json = dict[str, Any]

NOISE: Json = {"default": 0.0, "min": 0.0, "max": 1.0}
"""At 1 a prenet drops half of what it knows, as it did in training; at 0 nothing is drawn by chance."""

EMBEDDED = {"runtime": "onnxruntime"}
PROFILES: Json = {name: {"nets": {"encoder": EMBEDDED, "step": EMBEDDED}} for name in ("openvino", "torch")}
"""The loop feeds on its own output: what another engine rounds otherwise, 5e-6 of its memory, is 6e-3 of
full scale after twenty syllables. So where only the engine is another, it stays with the first."""

COARSE, MEL = "coarse_mel", "mel"
FUSING = ("Conv", "Add", "Mul", "Tanh")
LSTM_LENGTHS = 4
"""Which input of the LSTM operator says how many steps there are."""

BOUND = 120
"""Steps after which an utterance of the check ends; random ids can make such a model babble for long."""

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


def import_model(source: Source, out: Path) -> AddonReport:
    """Write the addon of an attention-based mel model.

    The frames of the step that says "stop" are not kept: such models learn to stop on padding.

    Raises:   ImporterError if a part of such a model is missing, or the cut nets differ from the model or
              change what they say when they are padded
    """
    parts = cut_attention(source.model)
    symbols = _symbols(Graph.read(source.model), parts.inputs)
    parts = replace(parts, nets=freed(parts.nets, symbols=symbols))
    try:
        steps, difference = check_attention(source, parts)
    except (
        ImporterError
    ):  # on some machines the LSTM operator rounds otherwise, and the loop makes much of it
        slow = _encoder(parts.loop, parts.inputs, symbols, fast=False)
        parts = replace(parts, nets={**parts.nets, "encoder": slow})
        steps, difference = check_attention(source, parts)
    controls = {"noise": NOISE} if parts.loop.noise else {}
    facts = [
        ("frames a step", str(parts.framing.per_step)),
        ("loop vs. model", f"{difference:.1e} greatest difference, same frames in {steps} steps"),
        padding_fact(check_padding(parts.nets, symbols=symbols)),
        batch_fact(parts.nets, symbols=symbols),
    ]
    return write_voice(
        source,
        out,
        nets=parts.nets,
        stack=_stack(parts),
        controls=controls,
        profiles=PROFILES,
        facts=facts,
    )


def cut_attention(model: onnx.ModelProto) -> AttentionParts:
    """Cut a model; what comes out computes the same.

    Raises:   ImporterError saying which part of such a graph was looked for in vain
    """
    whole = Graph.read(model)
    inputs = _inputs(whole)
    wanted = _refined_output(whole)
    examples = [
        model_inputs(whole, inputs, np.arange(length) % _symbols(whole, inputs)) for length in LENGTHS
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
        "encoder": _encoder(loop, inputs, _symbols(whole, inputs), fast=True),
        "step": _step(loop, piece, framing),
        "postnet": _postnet(loop, framing, refined),
    }
    return AttentionParts(nets, loop, framing, refined, inputs)


def _stack(parts: AttentionParts) -> list[Json]:
    decoder = {
        "type": "AutoregressiveDecoder",
        "net": "step",
        "stop_threshold": parts.loop.stop.threshold,
        "keeps_stop_step": False,
    }
    chain = [decoder, {"type": "Decoder", "net": "postnet"}]
    return [
        {
            "type": "StreamablePipeline",
            "sequence_block": {"type": "Encoders"},
            "streamable_block": {"type": "StreamableStack", "stack": chain},
        }
    ]


def _inputs(whole: Graph) -> dict[str, str]:
    """Tell apart ids [1, phonemes], their number [1], and a speaker's number [1], a place in a table."""
    inputs: dict[str, str] = {}
    for edge in whole.inputs:
        picks = any(
            node.op_type == "Gather" and node.input[1] == edge.name and node.input[0] in whole.constants
            for node in whole.users(edge.name)
        )
        rank = len(edge.axes or ())
        if not edge.dtype.startswith("int") or rank not in (1, 2):
            raise ImporterError(
                f"takes {edge.dtype} '{edge.name}', which no attention model of this kind does"
            )
        if not whole.users(edge.name):
            continue
        name = "ids" if rank == 2 else "speaker" if picks else "lengths"
        if name in inputs:
            raise ImporterError(f"takes '{inputs[name]}' and '{edge.name}', both look like {name}")
        inputs[name] = edge.name
    if "ids" not in inputs:
        raise ImporterError("takes no ids [1, phonemes]")
    if "speaker" in inputs:
        raise ImporterError("speaks with several voices, which is not understood yet")
    return inputs


def _symbols(whole: Graph, inputs: Mapping[str, str]) -> int:
    for node in whole.users(inputs["ids"]):
        table = whole.value(node.input[0])
        if node.op_type == "Gather" and table is not None:
            return table.shape[0]
    raise ImporterError("its ids do not pick rows of one table")


def model_inputs(whole: Graph, inputs: Mapping[str, str], ids: Constant) -> dict[str, Constant]:
    """Return what the model takes for one utterance."""
    feeds: dict[str, Constant] = {}
    for edge in whole.inputs:
        if edge.name == inputs["ids"]:
            feeds[edge.name] = ids[None].astype(edge.dtype)
        elif edge.name == inputs.get("lengths"):
            feeds[edge.name] = np.asarray([len(ids)], edge.dtype)
        else:
            feeds[edge.name] = np.zeros(1, edge.dtype)
    return feeds


def _refined_output(whole: Graph) -> str:
    """Return the model's output with the most convolutions behind the Loop: the mels to be heard."""
    best, most = "", -1
    for edge in whole.outputs:
        loops = [node for node in whole.ancestors(edge.name) if node.op_type == "Loop"]
        behind = whole.ancestors(edge.name, stop=[name for node in loops for name in node.output])
        convolutions = sum(node.op_type == "Conv" for node in behind)
        if edge.dtype == "float32" and loops and convolutions > most:
            best, most = edge.name, convolutions
    if not best:
        raise ImporterError("no float output hangs on a Loop")
    return best


def _encoder(loop: LoopParts, inputs: Mapping[str, str], symbols: int, *, fast: bool) -> CutNet:
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


def check_attention(source: Source, parts: AttentionParts) -> tuple[int, float]:
    """Hold step loop and postnet against the model in several utterances; return steps and difference.

    Raises:   ImporterError where they differ by more than 1e-4, or in how many steps they make
    """
    whole, loop = Graph.read(source.model), parts.loop
    (piece,) = loop.pieces
    stack = loop.pieces[piece]
    if stack is None:
        raise ImporterError("its Loop writes frames into a buffer, which is not understood yet")
    (node,) = [node for node in source.model.graph.node if stack in node.output]
    uncut = Uncut(source.model, node, most=BOUND, extra=(stack,))
    sessions = {name: plain_session(net.model) for name, net in parts.nets.items()}
    chain = LoopChain(sessions["encoder"], sessions["step"], loop.state, loop.stop)
    random = np.random.default_rng(0)
    symbols = _symbols(whole, parts.inputs)
    spoken = [np.asarray(source.golden_ids)] if source.golden_ids else []
    steps, worst = 0, 0.0
    for ids in [*spoken, *(random.integers(0, symbols, length) for length in LENGTHS)]:
        noise = {
            name: random.random((BOUND, *_drawn_shape(parts.nets["step"], name)), np.float32)
            for name in loop.noise
        }
        feeds: dict[str, Constant] = {"ids": ids[None].astype(np.int64), "lengths": np.asarray([len(ids)])}
        feeds["phonemes_mask"] = np.ones((1, len(ids)), bool)
        feeds["noise"] = np.asarray(0, np.float32)
        made = chain.run(feeds, noise, most=BOUND)
        model = uncut.run(model_inputs(whole, parts.inputs, ids), noise)
        frames = made[COARSE].reshape(len(made[COARSE]), -1)
        wanted = model[stack].reshape(len(model[stack]), -1)
        if frames.shape != wanted.shape:
            raise ImporterError(
                f"the step loop stops after {len(frames)} steps, the model after {len(wanted)}"
            )
        worst = max(worst, float(np.abs(frames - wanted).max()), _postnet_difference(parts, sessions, model))
        steps += len(frames)
    if not worst <= TOLERANCE:
        raise ImporterError(f"the cut nets differ from the model by {worst:.2g}, want at most {TOLERANCE:g}")
    return steps, worst


def _drawn_shape(net: CutNet, name: str) -> list[int]:
    return [1 if axis == "batch" else axis for axis in net.spec["inputs"][name]["axes"]]


def _postnet_difference(
    parts: AttentionParts, sessions: Mapping[str, InferenceSession], model: Mapping[str, Constant]
) -> float:
    """Return how far the postnet is from what the model does behind its Loop, and that from the model."""
    after = parts.loop.after
    (piece,) = parts.loop.pieces
    stack = model[parts.loop.pieces[piece] or ""]
    (output,) = [edge.name for edge in after.outputs]
    names = [output, parts.refined, parts.framing.tensor]
    behind = run_tensors(after, names, {piece: stack})
    refined = run(sessions["postnet"], {COARSE: behind[parts.framing.tensor].transpose(0, 2, 1)})[MEL]
    difference = float(np.abs(refined.transpose(0, 2, 1) - behind[parts.refined]).max())
    if behind[output].shape != model[output].shape:
        return float("inf")
    return max(difference, float(np.abs(behind[output] - model[output]).max(initial=0.0)))
