"""Say which runs of one net may join as a batch, lay them side by side, and split what comes out again.

    [ids 5]  ┐   ▓▓▓▓▓   ┌►  [hidden 5]
    [ids 3]  ├►  ▓▓▓░░  ─┼►  [hidden 3]       padded to the longest, where the net is told what is padding;
    [ids 4]  ┘   ▓▓▓▓░   └►  [hidden 4]       all of one length, where it is not

Each utterance gets what it would have got alone, whoever its companions are.
"""

import math
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from voxstack.core import padding
from voxstack.core.layouts import BATCH
from voxstack.core.nets import Net, NetSpec, Recurrence, TensorSpec
from voxstack.core.ports import Array, Axis, Tensors
from voxstack.core.shapes import is_told

__all__ = ["BatchLayout", "BatchedNet", "BatchedRecurrence", "Key"]

ALIKE = 32
"""Steps up to which all lengths join: so short a run is mostly overhead."""

RUNGS = 4
"""Above that, lengths join within a quarter of an octave: more padding costs what joining gains."""


@runtime_checkable
class BatchedRecurrence(Recurrence, Protocol):
    """A walk whose steps may be taken together with those of other walks through its net."""

    def batch_key(self, tensors: Tensors) -> Hashable | None:
        """Return what a step has in common with those it may join; None: it is taken alone."""
        ...


@runtime_checkable
class BatchedNet(Net, Protocol):
    """A Net that may run what several utterances want of it as one batch; any other runs each alone."""

    def batch_key(self, tensors: Tensors) -> Hashable | None:
        """Return what a run has in common with those it may join; None: it runs alone."""
        ...

    def run_many(self, batch: Sequence[Tensors]) -> list[dict[str, Array]]:
        """Run several utterances' tensors; return what `run` gives for each, in their order.

        Raises:   NetError if one of them cannot be run, and none is given back then; Cancelled if stopped
        """
        ...

    def step_many(self, walks: Sequence[Any], batch: Sequence[Tensors]) -> list[dict[str, Array]]:
        """Take the next step of several walks of this net; return what `step` gives for each, in their order.

        Raises:   NetError if one of them cannot be taken, Cancelled if stopped; no walk has gone on then
        """
        ...


@dataclass(frozen=True)
class Key:
    """What runs have in common that may join.

    steps    rung of their length along the ragged axis, or the length itself
    sizes    of their other named axes
    values   of what they share, as it has no batch axis
    """

    steps: int
    sizes: tuple[tuple[Axis, int], ...]
    values: tuple[tuple[str, tuple[int, ...], bytes], ...]


@dataclass(frozen=True)
class BatchLayout:
    """How several utterances' tensors lie in one batch of a net.

    is_told   whether lengths may differ: the net is told what is padding
    grows     whether a state has an axis that no other input has, so that its length is of the steps taken
    """

    spec: NetSpec
    is_told: bool
    grows: bool

    @classmethod
    def of(cls, spec: NetSpec) -> "BatchLayout | None":
        """Return the layout; None for a net that cannot tell its utterances apart.

        Such a net has an output, or a state, that all of a batch share, or an output on an axis that no input
        has, so that its length may follow from what one utterance says.
        """
        ragged = spec.ragged
        if not any(BATCH in tensor.axes for tensor in spec.inputs.values()):
            return None
        if not all(BATCH in tensor.axes for tensor in (*spec.outputs.values(), *_states(spec))):
            return None
        known = {BATCH, *_named(spec.inputs.values())}
        if any(
            not _grows_along(spec, name) and not {*_named([port])} <= known for name, port in _given(spec)
        ):
            return None
        shared = [tensor for tensor in spec.inputs.values() if BATCH not in tensor.axes]
        others = [tensor for name, tensor in spec.inputs.items() if name not in spec.state]
        return cls(
            spec,
            is_told=ragged is not None and is_told(ragged) and ragged.axis not in _named(shared),
            grows=not {*_named(_states(spec))} <= {BATCH, *_named(others)},
        )

    def key(self, tensors: Tensors, names: Collection[str]) -> Key | None:
        """Return what a run of these inputs has in common with others; None if it cannot be run as it is."""
        ragged = self.spec.ragged
        sizes: dict[Axis, int] = {}
        values: list[tuple[str, tuple[int, ...], bytes]] = []
        for name in names:
            port = self.spec.port(name)
            if name not in tensors or port.fault(tensors[name]) is not None:
                return None
            tensor = tensors[name]
            for axis, size in zip(port.axes, tensor.shape, strict=True):
                if isinstance(axis, str) and sizes.setdefault(axis, size) != size:
                    return None
            if BATCH not in self.spec.inputs[name].axes:
                values.append((name, tensor.shape, tensor.tobytes()))
        if 0 in sizes.values():
            return None
        steps = sizes.pop(ragged.axis, 0) if ragged else 0
        if self.is_told:
            steps = 0 if self.spec.state else _rung(steps)
        return Key(steps, tuple(sorted(sizes.items(), key=str)), tuple(values))

    def steps(self, feeds: Mapping[str, Array]) -> int:
        """Return how long inputs in the net's own layout are along its ragged axis; 0 without one."""
        ragged = self.spec.ragged
        for name, tensor in self.spec.inputs.items():
            if ragged is not None and name in feeds and ragged.axis in tensor.axes:
                return feeds[name].shape[tensor.axes.index(ragged.axis)]
        return 0

    def joined(self, feeds: Sequence[Mapping[str, Array]], rows: int) -> dict[str, Array]:
        """Return batches of one as one batch of `rows`; what is too many is filled with the last of them."""
        return {name: self._side_by_side(name, [feed[name] for feed in feeds], rows) for name in feeds[0]}

    def row(self, name: str, batch: Array, place: int, steps: Sequence[int]) -> Array:
        """Return one utterance's part of an output, a batch of one, as long as the utterance is.

        In:       steps  of all the utterances along the ragged axis
        """
        spec, ragged = self.spec, self.spec.ragged
        axes = spec.outputs[name].axes
        at = axes.index(BATCH)
        part = batch[(slice(None),) * at + (slice(place, place + 1),)]
        longest = max(steps)
        if ragged is not None and steps[place] < longest:
            along = {ragged.axis, _lead(spec, name) if ragged.hop > 1 else ragged.axis}
            for there, axis in enumerate(axes):
                if axis in along:
                    own = part.shape[there] * steps[place] // longest
                    part = part[(slice(None),) * there + (slice(own),)]
        # A copy: what one utterance keeps does not keep the others.
        return part.copy()

    def _side_by_side(self, name: str, parts: Sequence[Array], rows: int) -> Array:
        tensor = self.spec.inputs[name]
        if BATCH not in tensor.axes:
            return parts[0]
        at = tensor.axes.index(BATCH)
        filled = [*parts, *[parts[-1]] * (rows - len(parts))]
        if len({part.shape for part in parts}) == 1:
            return filled[0] if rows == 1 else np.concatenate(filled, axis=at)
        longest = tuple(max(sizes) for sizes in zip(*(part.shape for part in parts), strict=True))
        batch = np.full((*longest[:at], rows, *longest[at + 1 :]), self._filler(name), parts[0].dtype)
        for place, part in enumerate(filled):
            inside = [slice(size) for size in part.shape]
            inside[at] = slice(place, place + 1)
            batch[tuple(inside)] = part
        return batch

    def _filler(self, name: str) -> float:
        """Return what stands behind an utterance's end: zero in a mask, else what windows have there."""
        ragged = self.spec.ragged
        if ragged is None or name == ragged.mask:
            return 0
        if ragged.pad is not None:
            return ragged.pad
        return padding.FILLER if np.issubdtype(np.dtype(self.spec.inputs[name].dtype), np.floating) else 0


def _states(spec: NetSpec) -> list[TensorSpec]:
    return [spec.inputs[name] for name in spec.state]


def _given(spec: NetSpec) -> list[tuple[str, TensorSpec]]:
    """Return the outputs that are no state: a state's size follows from its size before."""
    return [(name, tensor) for name, tensor in spec.outputs.items() if name not in spec.state.values()]


def _named(tensors: Collection[TensorSpec]) -> list[str]:
    return [axis for tensor in tensors for axis in tensor.axes if isinstance(axis, str)]


def _lead(spec: NetSpec, name: str) -> Axis | None:
    """Return the named axis that blocks see first."""
    return next((axis for axis in spec.port(name).axes if isinstance(axis, str)), None)


def _grows_along(spec: NetSpec, name: str) -> bool:
    """Answer whether an output has its own name for the ragged axis, so many times as long: samples."""
    others = [axis for axis in spec.port(name).axes[1:] if isinstance(axis, str)]
    return spec.ragged is not None and spec.ragged.hop > 1 and not others


def _rung(steps: int) -> int:
    return max(math.ceil(RUNGS * math.log2(steps / ALIKE)), 0) if steps else 0
