"""Let several utterances share a run of a net: free its batch, where that changes nothing of what it says.

An exporter that knew one utterance only may have written a batch of one into a net. Each net is run with
three utterances at once, and must give each what it gives it alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from voxstack.core.errors import ImporterError
from voxstack.importers.cut_net import CutNet
from voxstack.importers.graphs.batches import free_batch
from voxstack.importers.graphs.graph import Constant, Edge, Graph
from voxstack.importers.graphs.measuring import BATCH, run
from voxstack.importers.graphs.padded import Padding, draw_inputs
from voxstack.importers.vits_parity import TOLERANCE, open_session

__all__ = ["batch_fact", "freed", "takes_batches"]

Tensors = dict[str, Constant]

STEPS = 9
UTTERANCES = 3

LEAST_SCALE = 0.01
"""Of a tensor: a probability near 0 has as few digits in f32 as one near 1."""


def freed(nets: Mapping[str, CutNet], *, symbols: int) -> dict[str, CutNet]:
    """Return nets that take a batch where one could be made of them; any other as it was.

    In:       symbols  ids are below it
    """
    return {name: _freed(net, symbols) for name, net in nets.items()}


def batch_fact(nets: Mapping[str, CutNet], *, symbols: int) -> tuple[str, str]:
    """Return which nets take several utterances at once, as a label and a value for people."""
    ones = [
        name for name, net in nets.items() if net.spec["ragged"] and not takes_batches(net, symbols=symbols)
    ]
    return (
        "batch",
        f"of one only: {', '.join(ones)}" if ones else "every net takes several utterances at once",
    )


def takes_batches(net: CutNet, *, symbols: int, like: CutNet | None = None) -> bool:
    """Answer whether a net gives several utterances at once what it, or another one, gives each alone."""
    utterances = [_utterance(net, symbols, seed) for seed in range(UTTERANCES)]
    try:
        alone = [_run(like or net, utterance) for utterance in utterances]
        together = _run(net, _joined(net, utterances, "inputs"))
        return _is_close(together, _joined(net, alone, "outputs")) and all(
            _is_close(_run(net, utterance), one) for utterance, one in zip(utterances, alone, strict=True)
        )
    except _Unfit:
        return False


def _freed(net: CutNet, symbols: int) -> CutNet:
    if net.spec["ragged"] is None or takes_batches(net, symbols=symbols):
        return net
    try:
        found = _free(net, symbols)
    except _Unfit:
        return net
    return found if takes_batches(found, symbols=symbols, like=net) else net


def _free(net: CutNet, symbols: int) -> CutNet:
    utterances = [_utterance(net, symbols, seed) for seed in range(2)]
    graph = Graph.read(net.model)
    try:
        free_batch(graph, utterances[0], _joined(net, utterances, "inputs"))
        return CutNet(graph.model(), net.spec)
    except Exception as error:  # the runtime's and the checker's own, of a net that cannot be taken apart so
        raise _Unfit from error


class _Unfit(Exception):  # noqa: N818 - no fault: a net that takes one utterance is a good net
    """A net cannot be run on what it was given."""


def _utterance(net: CutNet, symbols: int, seed: int) -> Tensors:
    """Draw an utterance's inputs; they differ from one to the next."""
    ragged: Mapping[str, Any] = net.spec["ragged"]
    random = np.random.default_rng(seed)
    told = Padding(ragged["axis"], STEPS, STEPS, ragged.get("mask"), ragged.get("lengths"), symbols)
    return draw_inputs(_edges(net, "inputs"), told, random)


def _joined(net: CutNet, utterances: Sequence[Tensors], side: str) -> Tensors:
    return {
        name: np.concatenate([one[name] for one in utterances], axis=entry["axes"].index(BATCH))
        if BATCH in entry["axes"]
        else utterances[0][name]
        for name, entry in net.spec[side].items()
    }


def _edges(net: CutNet, side: str) -> list[Edge]:
    return [Edge(name, entry["dtype"], tuple(entry["axes"])) for name, entry in net.spec[side].items()]


def _run(net: CutNet, feeds: Tensors) -> Tensors:
    try:
        return run(open_session(net.model), feeds)
    except ImporterError:
        raise
    except Exception as error:  # the runtime's own exceptions have no public common class
        raise _Unfit from error


def _is_close(got: Tensors, want: Tensors) -> bool:
    return all(
        got[name].shape == tensor.shape
        and np.allclose(
            got[name], tensor, rtol=0, atol=TOLERANCE * max(float(np.abs(tensor).max(initial=0)), LEAST_SCALE)
        )
        for name, tensor in want.items()
    )
