"""Fill a net's inputs for one utterance: what flows in, what the request says, noise, masks, lengths."""

from collections.abc import Mapping

import numpy as np

from voxstack.core.errors import NetError
from voxstack.core.nets import NetSpec
from voxstack.core.noise import Noise
from voxstack.core.ports import Array, Port, Ports, Tensors

__all__ = ["SEED", "UTTERANCE", "Feeds", "needs"]

SEED = Port("seed", "int64", ())
UTTERANCE = Port("utterance", "int64", ())


def needs(spec: NetSpec) -> Ports:
    """Return the ports that must be filled for a net: its own, and the seed if it draws noise."""
    draws = any(tensor.random for tensor in spec.inputs.values())
    return {**spec.takes, **({port.name: port for port in (SEED, UTTERANCE)} if draws else {})}


class Feeds:
    """What one utterance feeds one net, window by window.

    In:       tensors  whole-utterance tensors; those that the net takes are kept, the rest is not
    """

    def __init__(self, spec: NetSpec, tensors: Tensors, *, consumed: Ports | None = None) -> None:
        self._spec = spec
        flowing = consumed or {}
        self._constant: dict[str, Array] = {}
        for name in spec.takes:
            if name not in flowing:
                if name not in tensors:
                    raise NetError(f"nothing fills input '{name}'", where=f"net '{spec.name}'")
                self._constant[name] = tensors[name]
        self._noises: Mapping[str, tuple[Noise, str]] = {
            name: (
                Noise(
                    seed=int(tensors[SEED.name]),
                    utterance=int(tensors[UTTERANCE.name]),
                    place=f"{spec.name}.{name}",
                    shape=_noise_shape(spec, name),
                ),
                tensor.random,
            )
            for name, tensor in spec.inputs.items()
            if tensor.random is not None
        }

    def window(
        self, inputs: Tensors, *, start: int, steps: int, pads: tuple[int, int] = (0, 0)
    ) -> dict[str, Array]:
        """Return the net's inputs for `steps` steps of the utterance from `start`, padded as asked.

        `inputs` already hold the padding; noise and mask are zero there.
        """
        feeds = {**self.constant(steps, pads=pads), **inputs}
        for name, values in self.noise(start, steps).items():
            feeds[name] = _padded(values, *pads)
        return feeds

    def constant(self, steps: int, *, pads: tuple[int, int] = (0, 0)) -> dict[str, Array]:
        """Return what does not flow: tensors of the whole utterance, mask and length for `steps` steps."""
        feeds = dict(self._constant)
        ragged = self._spec.ragged
        if ragged is not None and ragged.mask is not None:
            port = self._spec.port(ragged.mask)
            shape = (steps, *(int(axis) for axis in port.axes[1:]))
            feeds[ragged.mask] = _padded(np.ones(shape, port.dtype), *pads)
        if ragged is not None and ragged.lengths is not None:
            dtype = self._spec.inputs[ragged.lengths].dtype
            feeds[ragged.lengths] = np.array(steps, dtype)
        return feeds

    def noise(self, start: int, steps: int) -> dict[str, Array]:
        """Return the net's random inputs for `steps` steps of the utterance from `start`."""
        return {
            name: noise.normal(start, steps) if kind == "normal" else noise.uniform(start, steps)
            for name, (noise, kind) in self._noises.items()
        }


def _noise_shape(spec: NetSpec, name: str) -> tuple[int, ...]:
    """Return the shape of one step of noise: a recurrent net takes a whole tensor each step."""
    axes = spec.port(name).axes
    return tuple(int(axis) for axis in (axes if spec.state else axes[1:]))


def _padded(values: Array, left: int, right: int) -> Array:
    if not (left or right):
        return values
    return np.pad(values, [(left, right)] + [(0, 0)] * (values.ndim - 1))
