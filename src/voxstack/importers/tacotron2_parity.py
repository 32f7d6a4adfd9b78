"""Hold the step loop and the postnet against the attention model they came from: same ids, same noise."""

from collections.abc import Mapping

import numpy as np
from onnxruntime import InferenceSession

from voxstack.core.errors import ImporterError
from voxstack.importers.cut_net import CutNet
from voxstack.importers.graphs.graph import Constant, Graph
from voxstack.importers.graphs.measuring import run, run_tensors
from voxstack.importers.loops.parity import LoopChain, Uncut, plain_session
from voxstack.importers.mel_addon import Source
from voxstack.importers.tacotron2_landmarks import model_inputs, symbols_of
from voxstack.importers.tacotron2_nets import COARSE, LENGTHS, MEL, AttentionParts
from voxstack.importers.vits_parity import TOLERANCE

__all__ = ["check_attention"]

BOUND = 120
"""Steps after which an utterance of the check ends; random ids can make such a model babble for long."""


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
    symbols = symbols_of(whole, parts.inputs)
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
