"""Turn a convolutional mel vocoder (multi-band or not) into one streamable net, checked against the model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from voxstack.core.errors import ImporterError
from voxstack.importers.cut_net import CutNet, ragged
from voxstack.importers.graphs.graph import Edge, Graph, attributes
from voxstack.importers.graphs.reach import measure_reach
from voxstack.importers.graphs.shape_rules import ints
from voxstack.importers.graphs.shapes import float_edges
from voxstack.importers.graphs.speed import speed_up
from voxstack.importers.graphs.tidying import tidy
from voxstack.importers.mel_addon import Source, write_vocoder
from voxstack.importers.vits_parity import TOLERANCE, open_session
from voxstack.importers.writing import AddonReport

__all__ = ["check_vocoder", "cut_vocoder", "import_model", "least_frames", "merge_synthesis"]

VIEWS = ("Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
FUSING = ("Conv", "Add", "Mul", "LeakyRelu", "Tanh")
LENGTHS = (12, 33, 150)
FRAMES = "frames"


def import_model(source: Source, out: Path) -> AddonReport:
    """Write the addon of a vocoder.

    Raises:   ImporterError if the net is none, cannot be cut into windows, or differs once rewritten
    """
    net = cut_vocoder(source.model)
    hop, bands = net.spec["ragged"]["hop"], net.spec["inputs"]["mel"]["axes"][1]
    if (hop, bands) != (source.mel.hop, source.mel.bands):
        raise ImporterError(
            f"makes {hop} samples of {bands} bands a frame; "
            f"its mels are said to have {source.mel.hop} and {source.mel.bands}"
        )
    difference = check_vocoder(source.model, net)
    along = net.spec["ragged"]
    along["least"] = max(along["least"], least_frames(net))
    fact = ("net vs. model", f"{difference:.1e} greatest difference, {len(LENGTHS)} lengths")
    return write_vocoder(source, out, nets={"vocoder": net}, stack=[{"type": "Vocoder"}], facts=[fact])


def cut_vocoder(model: onnx.ModelProto) -> CutNet:
    """Rewrite a graph mel → samples so that windows of it can be run, fast; measure its context.

    Raises:   ImporterError saying what is not as a vocoder's graph is
    """
    whole = Graph.read(model)
    mel, samples = mel_input(whole), _samples(whole)
    bands = mel.axes[-1] if mel.axes else 0
    graph = whole.extract(
        {mel.name: Edge("mel", "float32", ("batch", FRAMES, bands))},
        {samples: Edge("signal", "float32", None)},
    )
    _channels_first(graph, int(bands))
    tidy(graph)
    graph = graph.extract(
        {"mel": graph.inputs[0]}, {_samples(graph): Edge("signal", "float32", ("batch", 1, "samples"))}
    )
    merge_synthesis(graph)
    _drop_channel(graph)
    reach = measure_reach(graph, FRAMES)
    if reach.obstacle is not None:
        raise ImporterError(f"cannot run over windows of its mels: {reach.obstacle}")
    speed_up(graph)
    spec: dict[str, Any] = {
        "role": "vocoder",
        "inputs": {edge.name: _entry(edge) for edge in graph.inputs},
        "outputs": {edge.name: _entry(edge) for edge in graph.outputs},
        "ragged": ragged(FRAMES, chunkable=True, context=reach.context, hop=reach.hop),
        "state": {},
    }
    return CutNet(graph.model(known=float_edges(graph, FUSING)), spec)


def least_frames(net: CutNet) -> int:
    """Return how many frames the net can run on at least: mirrored padding needs something to mirror."""
    cut = open_session(net.model)
    bands = net.spec["inputs"]["mel"]["axes"][1]
    for frames in range(1, min(LENGTHS)):
        try:
            _run(cut, {"mel": np.zeros((1, bands, frames), np.float32)})
        except Exception:  # noqa: BLE001, S112 - the runtime's own exceptions have no public common class
            continue
        return frames
    return min(LENGTHS)


def mel_input(graph: Graph) -> Edge:
    """Return the one input, float [batch, frames, bands].

    Raises:   ImporterError if there is no such input, or another one
    """
    found = [edge for edge in graph.inputs if edge.dtype == "float32" and len(edge.axes or ()) == 3]
    bands = found[0].axes[-1] if found and found[0].axes else None
    if len(graph.inputs) != 1 or len(found) != 1 or not isinstance(bands, int) or bands < 1:
        named = ", ".join(f"{edge.name} {edge.dtype} {list(edge.axes or ())}" for edge in graph.inputs)
        raise ImporterError(f"takes {named or 'nothing'}; a vocoder takes one mel [batch, frames, bands]")
    return found[0]


def check_vocoder(model: onnx.ModelProto, net: CutNet) -> float:
    """Return the largest difference between the net's samples and the model's, over several lengths.

    Raises:   ImporterError where they differ by more than 1e-4, or in how many samples they make
    """
    whole, cut = open_session(model), open_session(net.model)
    random = np.random.default_rng(0)
    bands = net.spec["inputs"]["mel"]["axes"][1]
    worst = 0.0
    for length in LENGTHS:
        mel = random.standard_normal((1, length, bands)).astype(np.float32)
        (wanted,) = _run(whole, {whole.get_inputs()[0].name: mel})
        (got,) = _run(cut, {"mel": np.ascontiguousarray(mel.transpose(0, 2, 1))})
        if wanted.size != got.size:
            raise ImporterError(f"the net makes {got.size} samples where the model makes {wanted.size}")
        worst = max(worst, float(np.abs(wanted.reshape(-1) - got.reshape(-1)).max()))
    if not worst <= TOLERANCE:
        raise ImporterError(f"the net differs from the model by {worst:.2g}, want at most {TOLERANCE:g}")
    return worst


def merge_synthesis(graph: Graph) -> int:
    """Write a transposed convolution and the filter behind it as one transposed convolution.

    A filter bank's synthesis is exported as: put zeros between samples, then filter all bands at full rate.
    Nothing was cropped between the two and no bias added, so they are one linear map.
    """
    merged = 0
    for up in [node for node in graph.nodes if node.op_type == "ConvTranspose"]:
        users = graph.users(up.output[0])
        one, other = (attributes(node) for node in (up, *users[:1])) if len(users) == 1 else ({}, {})
        if not other or users[0].op_type != "Conv" or len(up.input) > 2 or any(ints(one.get("pads"))):
            continue
        first, second = graph.value(up.input[1]), graph.value(users[0].input[1])
        plain = all(options.get("group", 1) == 1 for options in (one, other))
        plain = plain and set(ints(other.get("strides")) + ints(other.get("dilations"))) <= {1}
        if first is None or second is None or first.ndim != 3 or second.ndim != 3 or not plain:
            continue
        taps, pads = second.shape[2], ints(other.get("pads")) or [0, 0]
        crops = [taps - 1 - pad for pad in pads]
        if min(crops) < 0 or ints(one.get("output_padding")) not in ([], [0]):
            continue
        weights = np.zeros((first.shape[0], second.shape[0], first.shape[2] + taps - 1))
        for tap in range(taps):
            start = taps - 1 - tap
            part = np.einsum("imt,om->iot", first.astype(np.float64), second[:, :, tap].astype(np.float64))
            weights[:, :, start : start + first.shape[2]] += part
        options = {
            "kernel_shape": [weights.shape[2]],
            "strides": ints(one.get("strides")) or [1],
            "pads": crops,
        }
        kernel = graph.constant(weights.astype(np.float32))
        joined = graph.add("ConvTranspose", [up.input[0], kernel, *users[0].input[2:]], options)
        graph.replace(users[0].output[0], joined)
        merged += 1
    graph.prune()
    return merged


def _samples(graph: Graph) -> str:
    """Return the tensor behind the graph's one output, before its axes were named anew."""
    if len(graph.outputs) != 1:
        raise ImporterError(f"gives {len(graph.outputs)} tensors; a vocoder gives one, samples")
    tensor = graph.outputs[0].name
    while (node := graph.producer(tensor)) is not None and node.op_type in VIEWS:
        tensor = node.input[0]
    if node is None:
        raise ImporterError("computes nothing of its mel")
    return tensor


def _channels_first(graph: Graph, bands: int) -> None:
    """Let the net take [batch, bands, frames], as its convolutions do."""
    readers = graph.users("mel")
    turned = graph.add("Transpose", ["mel"], {"perm": [0, 2, 1]})
    for reader in readers:
        reader.input[:] = [turned if name == "mel" else name for name in reader.input]
    graph.inputs = [Edge("mel", "float32", ("batch", bands, FRAMES))]
    graph.changed()


def _drop_channel(graph: Graph) -> None:
    """Give [batch, samples] instead of [batch, 1, samples]."""
    axis = graph.constant(np.asarray([1], np.int64))
    graph.rename(graph.add("Squeeze", ["signal", axis]), "samples")
    graph.outputs = [Edge("samples", "float32", ("batch", "samples"))]
    graph.changed()


def _entry(edge: Edge) -> Mapping[str, Any]:
    return {"dtype": edge.dtype, "axes": list(edge.axes or ())}


def _run(session: Any, feeds: Mapping[str, Any]) -> list[Any]:
    try:
        return [np.asarray(result) for result in session.run(None, dict(feeds))]
    except Exception as error:  # the runtime's own exceptions have no public common class
        raise ImporterError(f"cannot be run: {str(error).strip().partition(chr(10))[0]}") from error
