"""Run a net over a whole utterance, in as few windows as its sizes allow."""

from collections.abc import Mapping

import numpy as np

from voxstack.core.errors import TooLongError
from voxstack.core.feeds import Feeds
from voxstack.core.nets import Net, NetSpec
from voxstack.core.padding import cropped
from voxstack.core.ports import Array, Tensors
from voxstack.core.shapes import Window, whole_window, window

__all__ = ["plan_whole", "run_whole", "steps_of"]


def run_whole(net: Net, tensors: Tensors) -> dict[str, Array]:
    """Return what a net gives for the tensors of a whole utterance, which may hold more than it takes.

    Raises:   TooLongError if the utterance fits no size of a net that must see all of it
    """
    spec, ragged = net.spec, net.spec.ragged
    feeds = Feeds(spec, tensors)
    if ragged is None:
        return net.run({name: tensors[name] for name in spec.takes})
    steps = steps_of(spec, tensors)
    parts: list[dict[str, Array]] = []
    start = 0
    while not parts or start < steps:
        if ragged.chunkable and steps:
            plan = window(ragged, start, steps, steps, net.shapes.steps)
        else:
            plan = plan_whole(net, steps)
        results = net.run(feeds.window({}, plan))
        parts.append(cropped(results, spec, ragged, plan))
        start += max(plan.keep // ragged.hop, 1)
    return parts[0] if len(parts) == 1 else _joined(parts, spec)


def plan_whole(net: Net, steps: int) -> Window:
    """Plan the one run of a net that must see a whole utterance; raise TooLongError if it does not fit."""
    assert net.spec.ragged is not None
    try:
        return whole_window(net.spec.ragged, steps, net.shapes.steps)
    except TooLongError as error:
        raise TooLongError(
            steps=error.steps, most=error.most, axis=error.axis, where=f"net '{net.spec.name}'"
        ) from None


def steps_of(spec: NetSpec, tensors: Mapping[str, Array]) -> int:
    """Return how many steps of its ragged axis a net is given."""
    assert spec.ragged is not None
    axis = spec.ragged.axis
    ports = (port for port in spec.takes.values() if axis in port.axes)
    return next(tensors[port.name].shape[port.axes.index(axis)] for port in ports)


def _joined(parts: list[dict[str, Array]], spec: NetSpec) -> dict[str, Array]:
    """Join windows along the first axis; what has no free axis is the same in each."""
    return {
        name: np.concatenate([part[name] for part in parts])
        if isinstance(next(iter(spec.port(name).axes), 0), str)
        else parts[0][name]
        for name in parts[0]
    }
