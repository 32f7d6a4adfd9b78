"""Describe an exported net: its tensors, its ragged axis, its state; and what a runtime must offer.

Blocks see tensors time-first and without a batch axis, whatever layout the net was exported with;
`NetSpec.pack` and `NetSpec.unpack` stand between the two.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol, TypeAlias

import numpy as np

from voxstack.core.errors import NetError
from voxstack.core.ports import Array, Axis, Port, Ports, Tensors

__all__ = ["BATCH", "Net", "NetSpec", "Nets", "Ragged", "Recurrence", "TensorSpec"]

BATCH = "batch"
"""Name of the batch axis in a net's own layout."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Describe one input or output of a net as it was exported.

    `axes` keeps the net's own order; "batch" marks the batch axis. An input with `random` is drawn
    by the block from the utterance's seed, never sent by anybody.
    """

    dtype: str
    axes: tuple[Axis, ...]
    random: Literal["normal", "uniform"] | None = None


@dataclass(frozen=True, slots=True)
class Ragged:
    """Describe the axis along which a net's tensors grow with the utterance.

    axis       its name in the tensors' axes ("phonemes", "frames")
    context    steps of input that an output step needs to the left and to the right of its own
    hop        output steps per input step
    pad        value that stands beyond the utterance's ends; None: nothing may, windows stop there
    chunkable  False: every output step depends on the whole axis (global attention, LSTM)
    mask       name of an input that is 1 inside the utterance and 0 in padding
    lengths    name of an input that holds the number of steps inside the utterance
    """

    axis: str
    context: tuple[int, int] = (0, 0)
    hop: int = 1
    pad: float | None = None
    chunkable: bool = True
    mask: str | None = None
    lengths: str | None = None


@dataclass(frozen=True)
class NetSpec:
    """Describe a net of an addon; `name` is its key in the addon's JSON.

    `state` pairs inputs with outputs: what the net gives under the second name in one step it takes
    under the first in the next. A net with state is recurrent: it is run by `Net.begin`.
    """

    name: str
    file: str
    role: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    ragged: Ragged | None = None
    state: Mapping[str, str] = field(default_factory=dict[str, str])

    @cached_property
    def takes(self) -> Ports:
        """Ports that somebody must fill: all inputs but noise, mask, lengths and state."""
        own = {*self.state}
        if self.ragged is not None:
            own |= {name for name in (self.ragged.mask, self.ragged.lengths) if name}
        return {
            name: self.port(name, spec)
            for name, spec in self.inputs.items()
            if spec.random is None and name not in own
        }

    @cached_property
    def gives(self) -> Ports:
        """Ports that the net fills: all outputs but state."""
        own = {*self.state.values()}
        return {name: self.port(name, spec) for name, spec in self.outputs.items() if name not in own}

    def port(self, name: str, spec: TensorSpec) -> Port:
        """Return a tensor as blocks see it: no batch axis, the named (time) axis first."""
        return Port(name, spec.dtype, tuple(spec.axes[place] for place in _time_first(spec.axes)))

    def pack(self, tensors: Tensors, names: Collection[str] | None = None) -> dict[str, Array]:
        """Lay out block tensors as the net's inputs (or those of `names`), batch of one.

        Raises:   NetError if one is missing or misshapen
        """
        feeds: dict[str, Array] = {}
        for name, spec in _chosen(self.inputs, names).items():
            if name not in tensors:
                raise NetError(
                    f"input '{name}' is missing; got {sorted(tensors)}", where=f"net '{self.name}'"
                )
            tensor = tensors[name]
            fault = self.port(name, spec).fault(tensor)
            if fault is not None:
                raise NetError(fault, where=f"net '{self.name}'")
            order = _time_first(spec.axes)
            places = sorted(range(len(order)), key=order.__getitem__)
            tensor = tensor.transpose(places)
            if BATCH in spec.axes:
                tensor = np.expand_dims(tensor, spec.axes.index(BATCH))
            feeds[name] = np.asarray(tensor, order="C")
        return feeds

    def unpack(self, results: Tensors, names: Collection[str] | None = None) -> dict[str, Array]:
        """Lay out the net's outputs (or those of `names`), batch of one, as block tensors."""
        tensors: dict[str, Array] = {}
        for name, spec in _chosen(self.outputs, names).items():
            tensor = results[name]
            if tensor.ndim != len(spec.axes):
                want = f"[{', '.join(map(str, spec.axes))}]"
                raise NetError(
                    f"gave {name}: shape {list(tensor.shape)}, said {want}", where=f"net '{self.name}'"
                )
            if BATCH in spec.axes:
                tensor = tensor[(slice(None),) * spec.axes.index(BATCH) + (0, ...)]
            kept = [axis for axis in spec.axes if axis != BATCH]
            if kept and (first := _first_named(kept)):
                tensor = np.moveaxis(tensor, first, 0)
            fault = self.port(name, spec).fault(tensor)
            if fault is not None:
                raise NetError(f"gave {fault}", where=f"net '{self.name}'")
            tensors[name] = tensor
        return tensors


class Recurrence(Protocol):
    """One utterance's walk through a recurrent net; its state stays with the runtime, unseen."""

    def step(self, tensors: Tensors) -> dict[str, Array]:
        """Run the next step; `tensors` fill the inputs that `begin` was not given. No state comes back."""
        ...

    def close(self) -> None:
        """Free the state, now; safe twice."""
        ...


class Net(Protocol):
    """A net that a runtime has made ready to run; shared by all utterances, safe from any thread."""

    @property
    def spec(self) -> NetSpec: ...

    @property
    def runtime(self) -> str:
        """The engine, its version, and the provider or device that really runs the net."""
        ...

    @property
    def precision(self) -> str:
        """What the net really computes in, "float32" say."""
        ...

    def run(self, tensors: Tensors) -> dict[str, Array]:
        """Run once on time-first tensors without batch; raise NetError, or Cancelled if stopped."""
        ...

    def begin(self, tensors: Tensors) -> Recurrence:
        """Begin an utterance with a recurrent net; `tensors` stay the same in every step.

        State begins as `core.recurrence.first_state` says.
        """
        ...


Nets: TypeAlias = Mapping[str, Net]


def _chosen(specs: Mapping[str, TensorSpec], names: Collection[str] | None) -> Mapping[str, TensorSpec]:
    return specs if names is None else {name: spec for name, spec in specs.items() if name in names}


def _first_named(axes: list[Axis]) -> int:
    return next((place for place, axis in enumerate(axes) if isinstance(axis, str)), 0)


def _time_first(axes: tuple[Axis, ...]) -> list[int]:
    """Places of the net's axes in the order in which blocks see them."""
    kept = [place for place, axis in enumerate(axes) if axis != BATCH]
    if not kept:
        return []
    first = kept[_first_named([axes[place] for place in kept])]
    return [first, *(place for place in kept if place != first)]
