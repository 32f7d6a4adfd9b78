"""Hold nets to what their masks promise: padded on the right, and told so, they give what they gave without.

    run(inputs of n steps)  =  run(the same, padded to W steps, told n)[..., :n]

Whatever the padding holds. Ids there are any valid ones; floats are drawn at random, and then are NaN, so
that a net which reads padding at all shows it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from voxstack.core.errors import ImporterError
from voxstack.importers.cut_net import CutNet
from voxstack.importers.graphs.graph import Constant, Edge
from voxstack.importers.graphs.measuring import BATCH, run
from voxstack.importers.graphs.padded import Padding, draw_inputs
from voxstack.importers.vits_parity import TOLERANCE, open_session

__all__ = ["check_padding", "is_told", "padding_fact"]

Tensors = dict[str, Constant]

SIZES = ((3, 16), (9, 10), (17, 32), (40, 64))
STEPS = 4
"""How far a net with state is followed: what it made of padding comes back to it."""


def is_told(net: CutNet) -> bool:
    """Say whether a net has an input that tells it what is padding."""
    ragged = net.spec["ragged"] or {}
    return bool(ragged.get("mask") or ragged.get("lengths"))


def check_padding(
    nets: Mapping[str, CutNet], *, symbols: int, sizes: Sequence[tuple[int, int]] = SIZES
) -> dict[str, float]:
    """Return how much padding changes each net that is told of it, as a share of a tensor's greatest value.

    What an earlier net gives is what a later one takes; what nobody gives is drawn.

    In:       nets      in the order in which they need each other
              symbols   ids are below it
              sizes     steps of an utterance, and to how many it is padded
    Raises:   ImporterError if it changes more than 1e-4
    """
    sessions = {name: open_session(net.model) for name, net in nets.items()}
    worst = {name: 0.0 for name, net in nets.items() if is_told(net)}
    for number, (steps, size) in enumerate(sizes):
        random = np.random.default_rng(number)
        known: Tensors = {}
        for name, net in nets.items():
            if net.spec["ragged"] is None:
                continue
            edges, padding = _edges(net, "inputs"), _padding(net, steps, size, symbols)
            given = draw_inputs(edges, padding, random, known) | _chances(net, steps, random)
            whole = _walk(sessions[name], net, given)
            known |= {key: value for key, value in whole[-1].items() if key not in known}
            if name not in worst:
                continue
            # A state that grows lets no size be fixed, so there only what is likely stands in padding.
            for fill in (None,) if _grows(net) else (None, np.nan):
                padded = padding.padded(edges, given, random, fill=fill)
                try:
                    found = _walk(sessions[name], net, padded)
                except ImporterError as error:
                    raise ImporterError(f"{_told(name, padding)} {error.what}") from error
                change = _change(name, net, padding, found, whole)
                worst[name] = max(worst[name], change)
    return worst


def padding_fact(changes: Mapping[str, float]) -> tuple[str, str]:
    """Return what `check_padding` found as a label and a value for people."""
    measured = ", ".join(f"{name} {value:.1e}" for name, value in changes.items())
    return "padding", f"{measured} greatest change by it" if measured else "no net is told what is padding"


def _grows(net: CutNet) -> bool:
    names = {axis for entry in net.spec["inputs"].values() for axis in entry["axes"] if isinstance(axis, str)}
    return bool(names - {BATCH, net.spec["ragged"]["axis"]})


def _padding(net: CutNet, steps: int, size: int, symbols: int) -> Padding:
    ragged = net.spec["ragged"]
    return Padding(ragged["axis"], steps, size, ragged.get("mask"), ragged.get("lengths"), symbols)


def _edges(net: CutNet, side: str) -> list[Edge]:
    return [Edge(name, entry["dtype"], tuple(entry["axes"])) for name, entry in net.spec[side].items()]


def _chances(net: CutNet, steps: int, random: np.random.Generator) -> Tensors:
    """Draw what is uniform noise: between 0 and 1."""
    sizes: dict[Any, Any] = {net.spec["ragged"]["axis"]: steps, BATCH: 1}
    return {
        name: random.random([sizes.get(axis, axis) for axis in entry["axes"]], np.float32)
        for name, entry in net.spec["inputs"].items()
        if entry.get("random") == "uniform"
    }


def _walk(session: ort.InferenceSession, net: CutNet, feeds: Mapping[str, Constant]) -> list[Tensors]:
    """Run a net, and if it has state, let it go on from there for some steps."""
    state: Mapping[str, str] = net.spec["state"]
    results: list[Tensors] = []
    try:
        while not results or (state and len(results) < STEPS):
            carried = {name: results[-1][after] for name, after in state.items()} if results else {}
            results.append(run(session, {**feeds, **carried}))
    except Exception as error:  # the runtime's own exceptions have no public common class
        raise ImporterError(f"cannot be run: {str(error).strip().partition(chr(10))[0]}") from error
    return results


def _told(name: str, padding: Padding) -> str:
    return f"net '{name}', padded from {padding.steps} to {padding.size} {padding.axis} and told so,"


def _change(
    name: str, net: CutNet, padding: Padding, padded: Sequence[Tensors], whole: Sequence[Tensors]
) -> float:
    told = _told(name, padding)
    worst = 0.0
    for edge in _edges(net, "outputs"):
        for got, want in zip(padded, whole, strict=True):
            inside, wanted = padding.inside(edge, got[edge.name]), want[edge.name]
            if inside.shape != wanted.shape:
                raise ImporterError(
                    f"{told} gives '{edge.name}' as {list(inside.shape)}, want {list(wanted.shape)}"
                )
            greatest = max(float(np.abs(wanted).max(initial=0)), float(np.finfo(np.float32).tiny))
            change = float(np.abs(inside.astype(np.float64) - wanted).max(initial=0)) / greatest
            if not change <= TOLERANCE:
                raise ImporterError(
                    f"{told} changes '{edge.name}' by {change:.2g} of its greatest value, "
                    f"want at most {TOLERANCE:g}"
                )
            worst = max(worst, change)
    return worst
