"""Find where a parallel mel model is to be cut, by what its operators do; names mean nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx

from voxstack.core.errors import ImporterError
from voxstack.importers.graphs.graph import Edge, Graph, attribute
from voxstack.importers.vits_parity import open_session

__all__ = ["FACTORS", "Landmarks", "find_landmarks"]

VIEWS = ("Cast", "Identity", "Reshape", "Slice", "Squeeze", "Tile", "Transpose", "Unsqueeze")
ROUNDINGS: dict[str, Literal["ceil", "round"]] = {"Ceil": "ceil", "Round": "round"}
FACTORS = ("pitch", "energy")
"""What the ratios beside the speed scale, in the order in which such models take them."""


@dataclass(frozen=True)
class Landmarks:
    """Name the tensors where the model is cut.

    ids        the input of symbols
    hidden     [batch, phonemes, channels], what the text encoder gives
    durations  frames for each phoneme, before speed and rounding
    ratio      the input that stretches durations; None if there is none
    factors    the tensor that each control scales its prediction by
    inputs     the graph's inputs behind `factors`
    adapted    the encoding with pitch and energy added: what is repeated for each frame
    frames     [batch, frames, channels], repeated
    mask       bool [batch, frames], true inside the utterance; None if there is none
    mel        what the decoder gives
    refined    what the postnet makes of it; None if there is no postnet
    rounded    the model's own output of whole durations, if it has one
    dropouts   how many Dropout operators stand between pitch and energy and the encoding
    most_frames  how many positions its decoder has a table of; None if that is not told by a table
    """

    ids: str
    hidden: str
    durations: str
    ratio: str | None
    factors: dict[str, str]
    inputs: dict[str, str]
    adapted: str
    frames: str
    mask: str | None
    mel: str
    refined: str | None
    rounded: str | None
    rounding: Literal["ceil", "round"]
    channels: int
    bands: int
    symbols: int
    dropouts: int
    most_frames: int | None


def find_landmarks(graph: Graph) -> Landmarks:
    """Find them all.

    Raises:   ImporterError saying what was looked for in vain
    """
    ids = _ids(graph)
    mel, refined = _mels(graph)
    rounded, durations, ratio, rounding = _durations(graph, ids)
    pick = _regulator(graph, mel, rounded.output[0])
    adapted = _up(graph, pick.input[0])
    frames = _down(graph, pick.output[0])
    hidden = _encoding(graph, adapted, durations)
    tensors, inputs = _factors(graph, adapted, ratio)
    whole = next((edge.name for edge in graph.outputs if edge.dtype.startswith("int")), None)
    dropouts = [node for node in graph.ancestors(adapted, stop=[hidden]) if node.op_type == "Dropout"]
    symbols = _table(graph, ids)
    mask = _mask(graph, mel, frames)
    _one_speaker(graph, ids, mel)
    return Landmarks(
        ids=ids,
        hidden=hidden,
        durations=durations,
        ratio=ratio,
        factors=tensors,
        inputs=inputs,
        adapted=adapted,
        frames=frames,
        mask=mask,
        mel=mel,
        refined=refined,
        rounded=whole,
        rounding=rounding,
        channels=_width(graph, frames, ids),
        bands=_width(graph, mel, ids),
        symbols=symbols,
        dropouts=len(dropouts),
        most_frames=_positions(graph, mel, [frames, *([mask] if mask else [])]),
    )


def _ids(graph: Graph) -> str:
    found = [edge for edge in graph.inputs if edge.dtype.startswith("int") and len(edge.axes or ()) == 2]
    if len(found) != 1:
        raise ImporterError(f"{len(found)} inputs are whole numbers [batch, phonemes]; want one, the ids")
    return found[0].name


def _mels(graph: Graph) -> tuple[str, str | None]:
    """Return the mel before and the mel behind the postnet."""
    found = [edge.name for edge in graph.outputs if edge.dtype == "float32" and len(edge.axes or ()) == 3]
    if len(found) == 1:
        return found[0], None
    for first in found:
        for second in found:
            made = {name for node in graph.ancestors(second) for name in node.output}
            if first != second and first in made and len(found) == 2:
                return first, second
    raise ImporterError(
        f"{len(found)} outputs are [batch, frames, bands]; want a mel, and a refined one of it"
    )


def _durations(graph: Graph, ids: str) -> tuple[onnx.NodeProto, str, str | None, Literal["ceil", "round"]]:
    """Return the rounding, what it rounds without the ratio, and the ratio's input."""
    found = [
        node for node in graph.nodes if node.op_type in ROUNDINGS and ids in graph.sources(node.output[0])
    ]
    if len(found) != 1:
        raise ImporterError(f"durations are rounded by {len(found)} operators; want one Round or Ceil")
    node = found[0]
    rounding = ROUNDINGS[node.op_type]
    scaled = graph.producer(node.input[0])
    if scaled is not None and scaled.op_type == "Mul":
        for place in (0, 1):
            sources = graph.sources(scaled.input[place])
            if len(sources) == 1 and ids not in sources:
                return node, scaled.input[1 - place], sources.pop(), rounding
    return node, node.input[0], None, rounding


def _regulator(graph: Graph, mel: str, rounded: str) -> onnx.NodeProto:
    """Return the Gather that picks a phoneme's step for each frame: its places come from the durations."""
    found: list[onnx.NodeProto] = []
    for node in graph.ancestors(mel):
        if node.op_type != "Gather" or node.input[0] in graph.constants or len(node.input) < 2:
            continue
        # A size that is picked from a shape is no choice of steps.
        top = graph.producer(_up(graph, node.input[0]))
        made = {name for maker in graph.ancestors(node.input[1]) for name in maker.output}
        if rounded in made and top is not None and top.op_type != "Shape":
            found.append(node)
    if len(found) != 1:
        raise ImporterError(f"{len(found)} operators repeat phonemes by durations; want one Gather")
    return found[0]


def _up(graph: Graph, tensor: str) -> str:
    while (node := graph.producer(tensor)) is not None and node.op_type in VIEWS:
        tensor = node.input[0]
    return tensor


def _down(graph: Graph, tensor: str) -> str:
    """Return the repeated steps once they are [batch, frames, channels]: padded, with a batch axis."""
    while True:
        users = [node for node in graph.users(tensor) if node.op_type != "Shape"]
        if len(users) != 1 or users[0].op_type not in (*VIEWS, "Pad") or users[0].input[0] != tensor:
            return tensor
        tensor = users[0].output[0]


def _encoding(graph: Graph, adapted: str, durations: str) -> str:
    """Return the summand of what is repeated that durations are predicted from."""
    made = {name for node in graph.ancestors(durations) for name in node.output}
    tensor = adapted
    while tensor not in made:
        node = graph.producer(tensor)
        if node is None or node.op_type != "Add":
            raise ImporterError("what is repeated is no sum of an encoding and what is predicted from it")
        # The encoding is nearer to the ids than what is predicted from it.
        known = [name for name in node.input if name in made]
        tensor = known[0] if known else max(node.input, key=lambda name: _is_sum(graph, name, made))
    return tensor


def _is_sum(graph: Graph, tensor: str, made: set[str]) -> bool:
    """Say whether a tensor is a sum with a summand among `made`, at any depth."""
    node = graph.producer(tensor)
    if tensor in made or node is None or node.op_type != "Add":
        return tensor in made
    return any(_is_sum(graph, name, made) for name in node.input)


def _factors(graph: Graph, adapted: str, ratio: str | None) -> tuple[dict[str, str], dict[str, str]]:
    """Return for pitch and energy the tensor that scales the prediction, and the input it comes from."""
    free = [edge.name for edge in graph.inputs if edge.dtype == "float32" and edge.name != ratio]
    used = [name for name in free if name in graph.sources(adapted)]
    if len(used) > len(FACTORS):
        raise ImporterError(f"{len(used)} inputs scale predictions; want at most {len(FACTORS)}")
    tensors: dict[str, str] = {}
    for control, name in zip(FACTORS, used, strict=False):
        tensor = name
        while len(users := graph.users(tensor)) == 1 and users[0].op_type in VIEWS:
            tensor = users[0].output[0]
        if [node.op_type for node in users] != ["Mul"]:
            raise ImporterError(f"input '{name}' does not scale one prediction")
        tensors[control] = tensor
    return tensors, dict(zip(FACTORS, used, strict=False))


def _mask(graph: Graph, mel: str, frames: str) -> str | None:
    """Return the comparison of positions with the length that masks frames."""
    found = [node for node in graph.ancestors(mel, stop=[frames]) if node.op_type == "Less"]
    if len(found) > 1:
        raise ImporterError(f"{len(found)} comparisons mask frames; want one")
    return found[0].output[0] if found else None


def _table(graph: Graph, ids: str) -> int:
    for node in graph.users(ids):
        table = graph.value(node.input[0]) if node.op_type == "Gather" else None
        if table is not None and node.input[1] == ids:
            return int(table.shape[0])
    raise ImporterError("the ids do not pick rows of a table")


def _positions(graph: Graph, mel: str, begins: Sequence[str]) -> int | None:
    """Return how many frames the decoder's table of positions reaches."""
    for node in graph.ancestors(mel, stop=begins):
        table = graph.value(node.input[0]) if node.op_type == "Gather" else None
        if table is not None and table.ndim == 2 and attribute(node, "axis") in (None, 0):
            return int(table.shape[0]) - 1  # row 0 stands for padding
    return None


def _one_speaker(graph: Graph, ids: str, mel: str) -> None:
    for edge in graph.inputs:
        if edge.name != ids and edge.dtype.startswith("int") and edge.name in graph.sources(mel):
            raise ImporterError(f"input '{edge.name}' chooses a speaker; only models of one are imported")


def _width(graph: Graph, tensor: str, ids: str) -> int:
    """Return the last axis of a tensor, as one run of the model shows it."""
    inputs = {edge.name: edge for edge in graph.inputs if edge.name in graph.sources(tensor)}
    part = graph.extract(inputs, {tensor: Edge("looked_at", "float32", ("batch", "steps", "width"))})
    session = open_session(part.model())
    feeds = {name: _ones(edge, ids) for name, edge in inputs.items()}
    result = np.asarray(session.run(None, feeds)[0])
    if result.ndim != 3:
        raise ImporterError("what is repeated for each frame is not [batch, frames, channels]")
    return int(result.shape[-1])


def _ones(edge: Edge, ids: str) -> object:
    return np.ones((1, 4) if edge.name == ids else [1] * len(edge.axes or ()), edge.dtype)
