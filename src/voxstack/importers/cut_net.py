"""Hold a net that an importer made, with its entry for addon.json."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx

from voxstack.importers.graphs.graph import Edge, Graph

__all__ = ["CutNet", "net_of", "ragged"]

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
) -> Json:
    """Return the `ragged` entry of a net."""
    return {
        "axis": axis,
        "context": list(context),
        "hop": hop,
        "pad": pad,
        "chunkable": chunkable,
        "mask": mask,
        "lengths": lengths,
    }
