"""Find the places where a VITS graph comes apart: by its operators and edges, never by its names.

ids ─ encoder ─┬─ hidden ─ duration ─ w ─ ceil ─┐ (repeat)
├─ mean ────────────────────────┴─ mean ──┐
└─ log_std ─────────────────────── log_std ┴─ z_p ─ flow ─ z ─ decoder ─ samples
noise enters at the duration net (stochastic ones) and at z_p; a speaker's vector g enters nearly everywhere
"""

from collections.abc import Iterable
from dataclasses import dataclass

import onnx

from voxstack.core.errors import ImporterError
from voxstack.importers.graphs.graph import Graph

__all__ = ["Landmarks", "find_landmarks"]

NOISES = ("RandomNormalLike", "RandomNormal")
WRAPPERS = ("Unsqueeze", "Squeeze", "Reshape", "Cast", "Identity")


@dataclass(frozen=True)
class Landmarks:
    """Name the tensors of one graph at which it is cut; None where a model has no such thing."""

    ids: str
    lengths: str | None
    scales: str | None
    speaker: str | None
    hidden: str
    means: str
    log_stds: str
    phonemes_mask: str
    duration_noise: str | None
    duration_noise_scale: str | None
    durations: str
    frames_mean: str
    frames_log_std: str
    frame_noise: str
    frame_noise_scale: str | None
    frames_mask: str
    latent: str
    conditioning: str | None
    samples: str


def find_landmarks(graph: Graph) -> Landmarks:
    """Walk from the audio back to the ids; raise ImporterError naming what was looked for in vain.

    Source: the graph's shape follows from Kim et al. 2021 (VITS), inference only.
    """
    latent, conditioning = _decoder_input(graph)
    flow_end = _only(graph.producer(latent), "Mul", "the flow's end, a product with the frames' mask")
    frames_mask = _smaller(graph, flow_end.input)
    if frames_mask == latent or graph.producer(frames_mask) is None:
        raise ImporterError("the latent is not masked by frames; this is not a VITS graph")
    ceil = _one(graph, frames_mask, ("Ceil",), "the rounding of durations")
    durations = _before_length_scale(graph, ceil.input[0])
    phonemes_mask = _smaller(graph, _only(graph.producer(durations), "Mul", "masked durations").input)
    duration_noise = _maybe_one(graph, ceil.output[0], NOISES, "duration noise")
    frame_noise = _frame_noise(graph, latent, duration_noise)
    prior = _prior(graph, frame_noise)
    means, log_stds = (_before_repeat(graph, tensor) for tensor in prior[:2])
    projection = _upstream(graph, means, "Conv", "the projection to mean and log deviation")
    ids, lengths, scales = _inputs(graph, phonemes_mask, conditioning)
    return Landmarks(
        ids=ids,
        lengths=lengths,
        scales=scales,
        speaker=_speaker(graph, conditioning),
        hidden=projection.input[0],
        means=means,
        log_stds=log_stds,
        phonemes_mask=phonemes_mask,
        duration_noise=duration_noise and duration_noise.output[0],
        duration_noise_scale=duration_noise and _scale_of(graph, duration_noise),
        durations=durations,
        frames_mean=prior[0],
        frames_log_std=prior[1],
        frame_noise=frame_noise.output[0],
        frame_noise_scale=prior[2],
        frames_mask=frames_mask,
        latent=latent,
        conditioning=conditioning,
        samples=_samples(graph),
    )


def _decoder_input(graph: Graph) -> tuple[str, str | None]:
    """Return z and the speaker's vector: LeakyRelu, Add and a Conv stand above the upsampling."""
    upsamplings = [node for node in graph.nodes if node.op_type == "ConvTranspose"]
    first = [
        node
        for node in upsamplings
        if not any(other.op_type == "ConvTranspose" for other in graph.ancestors(node.input[0]))
    ]
    if len(first) != 1:
        raise ImporterError(
            f"found {len(first)} first upsampling convolutions, want one; is the decoder a HiFi-GAN?"
        )
    tensor = first[0].input[0]
    conditioning: str | None = None
    while (node := graph.producer(tensor)) is not None and node.op_type in ("LeakyRelu", "Add"):
        if node.op_type == "LeakyRelu":
            tensor = node.input[0]
            continue
        side = _smaller(graph, node.input)
        tensor = _other(node, side)
        conditioning = _upstream(graph, side, "Conv", "the speaker's projection").input[0]
    return _only(node, "Conv", "the decoder's first convolution").input[0], conditioning


def _before_length_scale(graph: Graph, tensor: str) -> str:
    """Return the durations before they are multiplied by the length scale (a scalar), if they are."""
    node = graph.producer(tensor)
    while node is not None and node.op_type in ("Mul", "Div"):
        factors = [name for name in node.input if _is_scale(graph, name)]
        if len(factors) != 1:
            break
        tensor = _other(node, factors[0])
        node = graph.producer(tensor)
    return tensor


def _is_scale(graph: Graph, tensor: str) -> bool:
    """Say whether a tensor is one number: a constant, or picked from a float input of rank 1."""
    value = graph.value(tensor)
    if value is not None:
        return value.size == 1
    floats = {edge.name for edge in graph.inputs if edge.dtype == "float32" and len(edge.axes or ()) <= 1}
    sources = graph.sources(tensor)
    return bool(sources) and sources <= floats


def _frame_noise(graph: Graph, latent: str, duration_noise: onnx.NodeProto | None) -> onnx.NodeProto:
    found = [
        node for node in graph.ancestors(latent) if node.op_type in NOISES and node is not duration_noise
    ]
    if len(found) != 1:
        raise ImporterError(f"found {len(found)} noises that reach the flow, want one")
    return found[0]


def _prior(graph: Graph, noise: onnx.NodeProto) -> tuple[str, str, str | None]:
    """Follow the noise down to z_p = mean + noise · exp(log_std) · scale; return mean, log_std, scale."""
    tensor, log_std, scale = noise.output[0], None, None
    for _ in range(6):
        below = [node for node in graph.users(tensor) if node.op_type in ("Mul", "Cast", "Add")]
        if len(below) != 1:
            break
        node = below[0]
        if node.op_type == "Add":
            if log_std is None:
                break
            return _other(node, tensor), log_std, scale
        if node.op_type == "Mul":
            factor = _other(node, tensor)
            maker = graph.producer(factor)
            if maker is not None and maker.op_type == "Exp":
                log_std = maker.input[0]
            elif _is_scale(graph, factor):
                scale = factor
        tensor = node.output[0]
    raise ImporterError("the noise does not run into mean + noise · exp(log deviation)")


def _scale_of(graph: Graph, noise: onnx.NodeProto) -> str | None:
    tensor = noise.output[0]
    while len(users := graph.users(tensor)) == 1 and users[0].op_type in ("Cast", "Mul"):
        if users[0].op_type == "Mul":
            factor = _other(users[0], tensor)
            return factor if _is_scale(graph, factor) else None
        tensor = users[0].output[0]
    return None


def _before_repeat(graph: Graph, tensor: str) -> str:
    """Return what the alignment's MatMul repeats over frames, [batch, phonemes, channels]."""
    node = graph.producer(tensor)
    while node is not None and node.op_type in ("Transpose", "Cast"):
        node = graph.producer(node.input[0])
    repeat = _only(node, "MatMul", "the alignment that repeats the prior over frames")
    sides = [name for name in repeat.input if any(n.op_type == "Ceil" for n in graph.ancestors(name))]
    if len(sides) != 1:
        raise ImporterError("the repetition over frames does not depend on durations on one side only")
    return _other(repeat, sides[0])


def _inputs(graph: Graph, phonemes_mask: str, conditioning: str | None) -> tuple[str, str | None, str | None]:
    """Tell the graph's inputs apart by dtype, rank and use."""
    speakers = graph.sources(conditioning) if conditioning else set[str]()
    ids = [e.name for e in graph.inputs if e.dtype.startswith("int") and len(e.axes or ()) == 2]
    scales = [e.name for e in graph.inputs if e.dtype == "float32"]
    lengths = [e.name for e in graph.inputs if e.dtype.startswith("int") and len(e.axes or ()) == 1]
    lengths = [name for name in lengths if name not in speakers and name in graph.sources(phonemes_mask)]
    if len(ids) != 1 or len(scales) > 1 or len(lengths) > 1:
        found = ", ".join(f"{e.name}: {e.dtype} {list(e.axes or ())}" for e in graph.inputs)
        raise ImporterError(
            f"want inputs ids [batch, phonemes], lengths, scales [3] and perhaps a speaker; got {found}"
        )
    return ids[0], lengths[0] if lengths else None, scales[0] if scales else None


def _speaker(graph: Graph, conditioning: str | None) -> str | None:
    if conditioning is None:
        return None
    sources = sorted(graph.sources(conditioning))
    if len(sources) != 1:
        raise ImporterError(f"a speaker's vector must come from one input; it depends on {sources}")
    return sources[0]


def _samples(graph: Graph) -> str:
    """Return the audio [batch, 1, samples], before the wrapping that differs from export to export."""
    (output,) = graph.outputs[:1]
    tensor = output.name
    while (node := graph.producer(tensor)) is not None and node.op_type in WRAPPERS:
        tensor = node.input[0]
    return tensor


def _smaller(graph: Graph, tensors: Iterable[str]) -> str:
    """Return the tensor with the fewest ancestors."""
    return min(tensors, key=lambda name: len(graph.ancestors(name)))


def _other(node: onnx.NodeProto, tensor: str) -> str:
    return node.input[1] if node.input[0] == tensor else node.input[0]


def _only(node: onnx.NodeProto | None, op: str, what: str) -> onnx.NodeProto:
    if node is None or node.op_type != op:
        raise ImporterError(f"looked for {what} ({op}), found {node.op_type if node else 'the graph’s edge'}")
    return node


def _upstream(graph: Graph, tensor: str, op: str, what: str) -> onnx.NodeProto:
    """Follow first inputs up to the nearest node of a kind."""
    node = graph.producer(tensor)
    while node is not None and node.op_type != op:
        sides = [name for name in node.input if name and graph.producer(name) is not None]
        deepest = max(sides, key=lambda name: len(graph.ancestors(name)), default="")
        node = graph.producer(deepest)
    return _only(node, op, what)


def _one(graph: Graph, tensor: str, ops: tuple[str, ...], what: str) -> onnx.NodeProto:
    node = _maybe_one(graph, tensor, ops, what)
    if node is None:
        raise ImporterError(f"looked for {what} ({ops[0]}), found none")
    return node


def _maybe_one(graph: Graph, tensor: str, ops: tuple[str, ...], what: str) -> onnx.NodeProto | None:
    found = [node for node in graph.ancestors(tensor) if node.op_type in ops]
    if len(found) > 1:
        raise ImporterError(f"looked for {what} ({ops[0]}), found {len(found)}, want one")
    return found[0] if found else None
