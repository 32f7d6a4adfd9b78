"""Extend tensors to the size of a planned window, and take out of the results what the window keeps."""

import numpy as np

from voxstack.core.nets import NetSpec, Ragged
from voxstack.core.ports import Array, Port, Tensors
from voxstack.core.shapes import Window

__all__ = ["FILLER", "cropped", "extended", "masked"]

FILLER = 0.0
"""What fills a window up where the net is not to look. Tests put NaN here: whatever depended on it shows."""


def extended(tensor: Array, plan: Window, pad: float | None, *, axis: int = 0) -> Array:
    """Return a tensor of the window's own steps with what stands before and behind them.

    In:       pad  the value that means "beyond the utterance"; None: the last step where the net needs
              more steps than there are, filler everywhere else
    """
    if not (plan.pad_left or plan.pad_right):
        return tensor
    if pad is not None:
        return _padded(tensor, axis, plan.pad_left, plan.pad_right, pad)
    if plan.repeat:
        tensor = np.pad(tensor, _widths(tensor, axis, 0, plan.repeat), mode="edge")
    filler = FILLER if np.issubdtype(tensor.dtype, np.floating) else 0
    return _padded(tensor, axis, plan.pad_left, plan.pad_right - plan.repeat, filler)


def masked(tensor: Array, plan: Window) -> Array:
    """Return a mask of ones over the window's own steps, zero where padding stands."""
    tensor = np.pad(tensor, _widths(tensor, 0, 0, plan.repeat), mode="edge") if plan.repeat else tensor
    return _padded(tensor, 0, plan.pad_left, plan.pad_right - plan.repeat, 0)


def cropped(results: Tensors, spec: NetSpec, ragged: Ragged, plan: Window) -> dict[str, Array]:
    """Return what a run over a whole utterance gave, without what it gave for padding and context."""
    if plan.keep == plan.size * ragged.hop:
        return dict(results)
    return {name: _kept(tensor, spec.port(name), ragged, plan) for name, tensor in results.items()}


def _kept(tensor: Array, port: Port, ragged: Ragged, plan: Window) -> Array:
    for place, axis in enumerate(port.axes):
        if axis == ragged.axis or (place == 0 and ragged.hop > 1 and isinstance(axis, str)):
            tensor = tensor[(slice(None),) * place + (slice(plan.crop, plan.crop + plan.keep),)]
    return tensor


def _padded(tensor: Array, axis: int, left: int, right: int, value: float) -> Array:
    if not (left or right):
        return tensor
    return np.pad(tensor, _widths(tensor, axis, left, right), constant_values=value)


def _widths(tensor: Array, axis: int, left: int, right: int) -> list[tuple[int, int]]:
    return [(left, right) if place == axis else (0, 0) for place in range(tensor.ndim)]
