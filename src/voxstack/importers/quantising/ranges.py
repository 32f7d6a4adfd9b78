"""Collect what flows into convolutions while a net runs on real utterances."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxstack.importers.graphs.graph import Constant, Graph
from voxstack.importers.graphs.measuring import open_part, run
from voxstack.importers.quantising.running import Feeds

__all__ = ["Seen", "watch"]

MOST_VALUES = 10_000
"""Values of one tensor that are kept of one utterance, drawn at random; extremes are kept of all."""


@dataclass(frozen=True)
class Seen:
    """What one tensor held, channel by channel.

    values   a sample, [channels, any]
    low      least value, [channels]
    high     greatest value, [channels]
    steps    how many values each channel had in all
    """

    values: NDArray[np.float32]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    steps: int

    def scaled(self, factors: NDArray[np.float32]) -> "Seen":
        """Return what it would have held, had each channel been multiplied by a positive factor."""
        return Seen(self.values * factors[:, None], self.low * factors, self.high * factors, self.steps)


def watch(graph: Graph, tensors: Sequence[str], utterances: Sequence[Feeds]) -> dict[str, Seen]:
    """Run a graph and return what its float tensors [batch, channels, …] held."""
    names = list(dict.fromkeys(tensors))
    given = {edge.name for edge in graph.inputs}
    made = [name for name in names if name not in given]
    session = open_part(graph, made, {edge.name: edge.dtype for edge in graph.inputs}) if made else None
    parts: dict[str, list[Seen]] = {name: [] for name in names}
    random = np.random.default_rng(0)
    for feeds in utterances:
        found = dict(feeds)
        if session is not None:
            found |= run(session, {value.name: feeds[value.name] for value in session.get_inputs()})
        for name in names:
            parts[name].append(_seen(found[name], random))
    return {name: _joined(seen) for name, seen in parts.items()}


def _seen(tensor: Constant, random: np.random.Generator) -> Seen:
    flat = np.moveaxis(tensor, 1, 0).reshape(tensor.shape[1], -1)
    wanted = max(1, min(flat.shape[1], MOST_VALUES // flat.shape[0]))
    columns = random.choice(flat.shape[1], wanted, replace=False)
    return Seen(flat[:, columns], flat.min(axis=1), flat.max(axis=1), flat.shape[1])


def _joined(seen: Sequence[Seen]) -> Seen:
    return Seen(
        np.concatenate([one.values for one in seen], axis=1),
        np.min([one.low for one in seen], axis=0),
        np.max([one.high for one in seen], axis=0),
        sum(one.steps for one in seen),
    )
