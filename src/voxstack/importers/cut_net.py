"""Hold a net that an importer made, with its entry for addon.json."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx

from voxstack.importers.graphs.graph import Edge, Graph
from voxstack.importers.graphs.masking import add_mask
from voxstack.importers.graphs.reach import measure_reach

__all__ = ["CutNet", "net_of", "ragged", "ragged_whole"]

Json = dict[str, Any]


@dataclass(frozen=True)
class CutNet:
    """Hold one net and its entry for addon.json, all but its file."""

    model: onnx.ModelProto
    spec: Json


def net_of(
    graph: Graph,
    *,
    role: str,
    ragged: Json | None,
    random: Mapping[str, str | None] | None = None,
    state: Mapping[str, str] | None = None,
    known: Sequence[Edge] = (),
) -> CutNet:
    """Return a graph as a net.

    In:       random  how an input is drawn, "normal" or "uniform"; None: it is sent
              state   which output is the next step's input: {"keys": "keys_next"}
              known   inner tensors whose shapes are written down for the runtime
    """
    drawn = {name: kind for name, kind in (random or {}).items() if kind}

    def tensor(edge: Edge) -> Json:
        entry: Json = {"dtype": edge.dtype, "axes": list(edge.axes or ())}
        return {**entry, "random": drawn[edge.name]} if edge.name in drawn else entry

    spec: Json = {
        "role": role,
        "inputs": {edge.name: tensor(edge) for edge in graph.inputs},
        "outputs": {edge.name: tensor(edge) for edge in graph.outputs},
        "ragged": ragged,
        "state": dict(state or {}),
    }
    return CutNet(graph.model(known=known), spec)


def ragged(
    axis: str,
    *,
    chunkable: bool,
    context: tuple[int, int] = (0, 0),
    hop: int = 1,
    pad: float | None = None,
    mask: str | None = None,
    lengths: str | None = None,
    least: int | None = None,
) -> Json:
    """Return the `ragged` entry of a net.

    In an utterance shorter than its context every step of a net that is not told what is padding meets
    both ends, so that only a run of just that length is right. Unless `least` is given, such a one is
    made as long as the context at any size, so that it sounds the same at all of them.
    """
    bare = chunkable and pad is None and mask is None and lengths is None
    return {
        "axis": axis,
        "context": list(context),
        "hop": hop,
        "pad": pad,
        "chunkable": chunkable,
        "least": least or (max(sum(context), 1) if bare else 1),
        "mask": mask,
        "lengths": lengths,
    }


def ragged_whole(graph: Graph, axis: str, *, symbols: int = 1, zeroes_ids: bool = False) -> Json:
    """Give a net that reads all steps a mask, and return its `ragged` entry.

    Where no step changes another there is nothing to mask: such a net can be cut into windows, if its graph
    shows that. `symbols` and `zeroes_ids` are those of `add_mask`.
    """
    mask = add_mask(graph, axis, symbols=symbols, zeroes_ids=zeroes_ids)
    if mask is not None:
        return ragged(axis, chunkable=False, mask=mask)
    reach = measure_reach(graph, axis)
    if reach.obstacle is not None or reach.hop != 1:
        return ragged(axis, chunkable=False)
    return ragged(axis, chunkable=True, context=reach.context)
