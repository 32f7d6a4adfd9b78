"""Cut a parallel mel model with durations into text encoder, duration net, frame decoder and postnet."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx

from voxstack.core.errors import ImporterError
from voxstack.importers.batching import batch_fact, freed
from voxstack.importers.cut_net import CutNet, net_of, ragged, ragged_whole
from voxstack.importers.fastspeech2_landmarks import Landmarks, find_landmarks
from voxstack.importers.fastspeech2_parity import check_parallel
from voxstack.importers.graphs.dropouts import lift_dropouts
from voxstack.importers.graphs.graph import Edge, Graph
from voxstack.importers.graphs.lift import lift_convolutions, lift_to_2d
from voxstack.importers.graphs.masking import mask_padding
from voxstack.importers.graphs.reach import measure_reach
from voxstack.importers.graphs.shapes import float_edges, infer_shapes
from voxstack.importers.graphs.tidying import tidy
from voxstack.importers.graphs.views import lay_channels_first
from voxstack.importers.mel_addon import Source, write_voice
from voxstack.importers.padding import check_padding, padding_fact
from voxstack.importers.writing import AddonReport

__all__ = ["ParallelParts", "cut_parallel", "import_model"]

Json = dict[str, Any]

FACTOR: Json = {"default": 1.0, "min": 0.5, "max": 2.0}
NOISE: Json = {"default": 0.0, "min": 0.0, "max": 1.0}
"""At 1 a voice whose export kept dropout at work varies as it did there; at 0 it speaks by the mean."""

FUSING = ("Conv", "Add", "Mul", "Relu", "Tanh")


@dataclass(frozen=True)
class ParallelParts:
    """Hold the nets, the model they were cut from, and where."""

    nets: Mapping[str, CutNet]
    whole: Graph
    marks: Landmarks


def import_model(source: Source, out: Path) -> AddonReport:
    """Write the addon of a parallel mel model.

    Raises:   ImporterError if a part of such a model is missing, or the cut nets differ from the model or
              change what they say when they are padded
    """
    parts = cut_parallel(source.model)
    symbols = parts.marks.symbols
    parts = replace(parts, nets=freed(parts.nets, symbols=symbols))
    parity = check_parallel(parts.whole, parts.marks, {name: net.model for name, net in parts.nets.items()})
    controls = {"speed": FACTOR, **dict.fromkeys(parts.marks.factors, FACTOR)}
    if parts.marks.dropouts:
        controls["noise"] = NOISE
    facts = [
        ("chain vs. model", f"{parity:.1e} greatest difference, equal durations"),
        padding_fact(check_padding(parts.nets, symbols=symbols)),
        batch_fact(parts.nets, symbols=symbols),
    ]
    if parts.marks.most_frames:
        seconds = parts.marks.most_frames * source.mel.hop / source.mel.sample_rate
        facts.append(("longest", f"{seconds:.1f} s in one utterance, as its table of positions is long"))
    return write_voice(source, out, nets=parts.nets, stack=_stack(parts), controls=controls, facts=facts)


def cut_parallel(model: onnx.ModelProto) -> ParallelParts:
    """Cut a model; what comes out computes the same, with speed left to an upsampler.

    Raises:   ImporterError saying which part of such a graph was looked for in vain
    """
    whole = Graph.read(model)
    marks = find_landmarks(whole)
    nets = {"encoder": _encoder(whole, marks), "duration": _duration(whole, marks)}
    nets["decoder"] = _decoder(whole, marks)
    if marks.refined is not None:
        nets["postnet"] = _postnet(whole, marks)
    return ParallelParts(nets, whole, marks)


def _stack(parts: ParallelParts) -> list[Json]:
    upsampler = {"type": "Upsampler", "tensors": [_repeated(parts.marks)], "rounding": parts.marks.rounding}
    chain = [
        upsampler,
        *({"type": "Decoder", "net": net} for net in ("decoder", "postnet") if net in parts.nets),
    ]
    return [
        {
            "type": "StreamablePipeline",
            "sequence_block": {"type": "Encoders"},
            "streamable_block": {"type": "StreamableStack", "stack": chain},
        }
    ]


def _repeated(marks: Landmarks) -> str:
    return "adapted" if marks.adapted != marks.hidden else "hidden"


def _encoder(whole: Graph, marks: Landmarks) -> CutNet:
    graph = whole.extract(
        {marks.ids: Edge("ids", "int64", ("batch", "phonemes"))},
        {marks.hidden: Edge("hidden", "float32", None)},
    )
    _read_ids(graph, whole, marks)
    lift_convolutions(tidy(graph))
    _name_axes(graph, {"hidden": ("batch", "phonemes")})
    return net_of(graph, role="encoder", ragged=_all_phonemes(graph, marks))


def _duration(whole: Graph, marks: Landmarks) -> CutNet:
    """Cut durations, and what pitch and energy add to the encoding.

    Dropout that the export left at work is turned into a factor 1 + noise · (mask / keep - 1).
    """
    inputs = {
        marks.ids: Edge("ids", "int64", ("batch", "phonemes")),
        marks.hidden: Edge("hidden", "float32", ("batch", "phonemes", marks.channels)),
    }
    inputs |= {tensor: Edge(name, "float32", ()) for name, tensor in marks.factors.items()}
    outputs = {marks.durations: Edge("durations", "float32", None)}
    if marks.adapted != marks.hidden:
        outputs[marks.adapted] = Edge("adapted", "float32", None)
    graph = whole.extract(inputs, outputs)
    _read_ids(graph, whole, marks)
    noises = lift_dropouts(graph, marks.channels)
    lift_convolutions(tidy(graph))
    _name_axes(graph, {edge.name: ("batch", "phonemes") for edge in graph.outputs})
    along = _all_phonemes(graph, marks)
    return net_of(graph, role="encoder", ragged=along, random=dict.fromkeys(noises, "uniform"))


def _all_phonemes(graph: Graph, marks: Landmarks) -> Json:
    """Tell a net what is padding. Such models know it by id 0, so ids there become 0."""
    return ragged_whole(graph, "phonemes", symbols=marks.symbols, zeroes_ids=True)


def _decoder(whole: Graph, marks: Landmarks) -> CutNet:
    name = _repeated(marks)
    inputs = {marks.frames: Edge(name, "float32", ("batch", "frames", marks.channels))}
    if marks.mask is not None:
        inputs[marks.mask] = Edge("frames_mask", "bool", ("batch", "frames"))
    mel = "mel" if marks.refined is None else "mel_before"
    graph = tidy(whole.extract(inputs, {marks.mel: Edge(mel, "float32", None)}))
    lift_convolutions(graph)
    _name_axes(graph, {mel: ("batch", "frames")})
    if any(edge.name == "frames_mask" for edge in graph.inputs):
        mask_padding(graph, "frames", mask="frames_mask")
        along = ragged("frames", chunkable=False, mask="frames_mask")
    else:
        along = ragged_whole(graph, "frames")
    return net_of(graph, role="decoder", ragged=along)


def _postnet(whole: Graph, marks: Landmarks) -> CutNet:
    """Cut the refiner; the mask of an utterance that fills its batch is all ones, so it goes."""
    assert marks.refined is not None
    inputs = {marks.mel: Edge("mel_before", "float32", ("batch", "frames", marks.bands))}
    if marks.mask is not None:
        inputs[marks.mask] = Edge("frames_mask", "bool", ("batch", "frames"))
    graph = whole.extract(inputs, {marks.refined: Edge("mel", "float32", None)})
    _drop_mask(graph)
    lay_channels_first(graph, "mel_before")
    tidy(graph)
    lay_channels_first(graph, "mel")
    tidy(graph)
    _name_axes(graph, {"mel": ("batch", marks.bands)}, last="frames")
    reach = measure_reach(graph, "frames")
    along = ragged("frames", chunkable=reach.obstacle is None, context=reach.context)
    if reach.hop != 1:
        raise ImporterError(f"its postnet gives {reach.hop} frames a frame, want 1")
    lift_to_2d(graph)
    return net_of(graph, role="decoder", ragged=along, known=float_edges(graph, FUSING))


def _read_ids(graph: Graph, whole: Graph, marks: Landmarks) -> None:
    """Let 32-bit ids be read from the 64-bit ids that a front end gives."""
    readers = graph.users("ids")
    if not readers or "int64" in _dtypes(whole, marks.ids):
        return
    cast = graph.add("Cast", ["ids"], {"to": onnx.TensorProto.INT32})
    for reader in readers:
        reader.input[:] = [cast if name == "ids" else name for name in reader.input]
    graph.changed()


def _dtypes(graph: Graph, name: str) -> list[str]:
    return [edge.dtype for edge in graph.inputs if edge.name == name]


def _drop_mask(graph: Graph) -> None:
    """Take out products with what was computed from the mask alone."""
    for node in [node for node in graph.nodes if node.op_type == "Mul"]:
        for place in (0, 1):
            if graph.sources(node.input[place]) == {"frames_mask"}:
                graph.replace(node.output[0], node.input[1 - place])
    graph.prune()
    read = {name for node in graph.nodes for name in node.input}
    graph.inputs = [edge for edge in graph.inputs if edge.name in read]


def _name_axes(graph: Graph, axes: Mapping[str, tuple[str | int, ...]], *, last: str | None = None) -> None:
    """Write down the outputs' axes; where more are there than named, the channels are looked up."""
    shapes = infer_shapes(graph)
    edges: list[Edge] = []
    for edge in graph.outputs:
        named = axes[edge.name] + ((last,) if last else ())
        shape = shapes.of.get(edge.name)
        if shape is not None and len(shape) > len(named):
            sizes = [size.known if size is not None else None for size in shape[len(named) :]]
            if None in sizes:
                raise ImporterError(f"the number of channels of '{edge.name}' is not fixed")
            named += tuple(size for size in sizes if size is not None)
        edges.append(Edge(edge.name, edge.dtype, named))
    graph.outputs = edges
