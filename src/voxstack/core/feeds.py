"""Fill a net's inputs for one utterance: what flows in, what the request says, noise, masks, lengths."""

from collections.abc import Mapping

import numpy as np

from voxstack.core.errors import NetError
from voxstack.core.nets import NetSpec
from voxstack.core.noise import Noise
from voxstack.core.padding import extended, masked
from voxstack.core.ports import Array, Port, Ports, Tensors
from voxstack.core.shapes import Window

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

    def window(self, inputs: Tensors, plan: Window) -> dict[str, Array]:
        """Return the net's inputs for one window of the utterance.

        `inputs` are already as long as the window; noise is zero beyond the utterance, and so is the mask.
        """
        feeds = {**self.constant(plan), **inputs}
        for name, values in self.noise(plan.lo, plan.hi - plan.lo).items():
            feeds[name] = extended(values, plan, None if plan.repeat == 0 else 0.0)
        return feeds

    def constant(self, plan: Window) -> dict[str, Array]:
        """Return what does not flow: the utterance's tensors, fitted, and what tells of padding."""
        feeds = self.stretch(self._constant, plan)
        ragged = self._spec.ragged
        if ragged is None:
            return feeds
        steps = plan.hi - plan.lo
        if ragged.mask is not None:
            port = self._spec.port(ragged.mask)
            shape = (steps, *(int(axis) for axis in port.axes[1:]))
            feeds[ragged.mask] = masked(np.ones(shape, port.dtype), plan)
        if ragged.lengths is not None:
            dtype = self._spec.inputs[ragged.lengths].dtype
            feeds[ragged.lengths] = np.array(steps + plan.repeat, dtype)
        return feeds

    def noise(self, start: int, steps: int) -> dict[str, Array]:
        """Return the net's random inputs for `steps` steps of the utterance from `start`."""
        return {
            name: noise.normal(start, steps) if kind == "normal" else noise.uniform(start, steps)
            for name, (noise, kind) in self._noises.items()
        }

    def stretch(self, tensors: Tensors, plan: Window) -> dict[str, Array]:
        """Return whole-utterance tensors as a window sees them: cut and padded along the ragged axis."""
        ragged = self._spec.ragged
        if ragged is None:
            return dict(tensors)
        seen = dict(tensors)
        for name in tensors:
            axes = self._spec.port(name).axes
            for place in (place for place, axis in enumerate(axes) if axis == ragged.axis):
                own = seen[name][(slice(None),) * place + (slice(plan.lo, plan.hi),)]
                seen[name] = extended(own, plan, ragged.pad, axis=place)
        return seen


def _noise_shape(spec: NetSpec, name: str) -> tuple[int, ...]:
    """Return the shape of one step of noise: a recurrent net takes a whole tensor each step."""
    axes = spec.port(name).axes
    return tuple(int(axis) for axis in (axes if spec.state else axes[1:]))
