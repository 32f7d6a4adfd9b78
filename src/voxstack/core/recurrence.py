"""Say how the state of a recurrent net begins; every runtime begins it so."""

import numpy as np

from voxstack.core.errors import NetError
from voxstack.core.layouts import BATCH
from voxstack.core.nets import NetSpec
from voxstack.core.ports import Array, Tensors

__all__ = ["first_state"]


def first_state(spec: NetSpec, tensors: Tensors) -> dict[str, Array]:
    """Return the state with which an utterance begins, laid out as the net's inputs.

    A state that the utterance has a tensor of its name for begins with that. Any other begins with
    zeros: a named axis is as long as the utterance's tensors have it ("phonemes"), and empty if none
    has it (the "past" of a cache).

    In:       tensors  what the utterance begins with, as blocks see it
    """
    sizes = _sizes(spec, tensors)
    given = [name for name in spec.state if name in tensors]
    state = spec.pack(tensors, given)
    for name in spec.state.keys() - state.keys():
        tensor = spec.inputs[name]
        shape = [
            axis if isinstance(axis, int) else 1 if axis == BATCH else sizes.get(axis, 0)
            for axis in tensor.axes
        ]
        state[name] = np.zeros(shape, tensor.dtype)
    return state


def _sizes(spec: NetSpec, tensors: Tensors) -> dict[str, int]:
    """Return how long the named axes of a net's inputs are in this utterance."""
    sizes: dict[str, int] = {}
    for name in spec.inputs:
        if name not in tensors:
            continue
        port = spec.port(name)
        fault = port.fault(tensors[name])
        if fault is not None:
            raise NetError(fault, where=f"net '{spec.name}'")
        for axis, size in zip(port.axes, tensors[name].shape, strict=True):
            if isinstance(axis, str) and sizes.setdefault(axis, size) != size:
                raise NetError(
                    f"'{axis}' is {size} steps long in '{name}' but {sizes[axis]} in another input",
                    where=f"net '{spec.name}'",
                )
    return sizes
