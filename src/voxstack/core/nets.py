"""Describe an exported net: its tensors, its ragged axis, its state; and what a runtime must offer.

Blocks see tensors time-first and without a batch axis, whatever layout the net was exported with;
`NetSpec.pack` and `NetSpec.unpack` stand between the two.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol, TypeAlias

from voxstack.core.errors import NetError
from voxstack.core.layouts import Layout
from voxstack.core.ports import Array, Axis, Port, Ports, Tensors
from voxstack.core.sizes import ShapePolicy

__all__ = ["Net", "NetSpec", "Nets", "Ragged", "Recurrence", "TensorSpec"]


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
    least      input steps that it can run on at least; where an utterance has fewer, its last is repeated
    mask       name of an input that is 1 inside the utterance and 0 in padding
    lengths    name of an input that holds the number of steps inside the utterance
    """

    axis: str
    context: tuple[int, int] = (0, 0)
    hop: int = 1
    pad: float | None = None
    chunkable: bool = True
    least: int = 1
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
            name: self.port(name)
            for name, spec in self.inputs.items()
            if spec.random is None and name not in own
        }

    @cached_property
    def gives(self) -> Ports:
        """Ports that the net fills: all outputs but state."""
        own = {*self.state.values()}
        return {name: self.port(name) for name in self.outputs if name not in own}

    def port(self, name: str) -> Port:
        """Return an input or output as blocks see it: no batch axis, the named (time) axis first."""
        return self._layouts[name].port

    def pack(self, tensors: Tensors, names: Collection[str] | None = None) -> dict[str, Array]:
        """Lay out block tensors as the net's inputs (or those of `names`), batch of one.

        Raises:   NetError if one is missing or misshapen
        """
        feeds: dict[str, Array] = {}
        for name in self.inputs if names is None else names:
            if name not in tensors:
                raise NetError(
                    f"input '{name}' is missing; got {sorted(tensors)}", where=f"net '{self.name}'"
                )
            try:
                feeds[name] = self._layouts[name].to_net(tensors[name])
            except NetError as error:
                raise NetError(error.what, where=f"net '{self.name}'") from None
        return feeds

    def unpack(self, results: Tensors, names: Collection[str] | None = None) -> dict[str, Array]:
        """Lay out the net's outputs (or those of `names`), batch of one, as block tensors."""
        tensors: dict[str, Array] = {}
        for name in self.outputs if names is None else names:
            try:
                tensors[name] = self._layouts[name].to_block(results[name])
            except NetError as error:
                raise NetError(error.what, where=f"net '{self.name}'") from None
        return tensors

    @cached_property
    def _layouts(self) -> Mapping[str, Layout]:
        return {
            name: Layout.of(name, spec.dtype, spec.axes)
            for name, spec in (*self.outputs.items(), *self.inputs.items())
        }


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
    def shapes(self) -> ShapePolicy:
        """The sizes that it accepts; whoever runs it plans windows of these."""
        ...

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
