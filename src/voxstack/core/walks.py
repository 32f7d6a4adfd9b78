"""Walk through a recurrent net, alone or together with others, whoever they are at each step.

walk a  [state] ┐                 ┌ kept as the batch gave it, while the same walks step together;
walk b  [state] ├► one batch ─► ──┤ taken out of it when one of them steps alone, or with others
walk c  [state] ┘                 └
"""

import itertools
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from voxstack.core.batching import BatchLayout, Key
from voxstack.core.errors import Cancelled
from voxstack.core.executables import Executable
from voxstack.core.layouts import BATCH
from voxstack.core.nets import NetSpec
from voxstack.core.ports import Array, Tensors

__all__ = ["CompiledRecurrence", "Place", "filled", "step_together"]

NUMBERS = itertools.count()


def filled(spec: NetSpec, feeds: Mapping[str, Array], rows: int) -> dict[str, Array]:
    """Return feeds of one utterance as a batch of so many, the same in each place."""
    if rows == 1:
        return dict(feeds)
    return {
        name: array.repeat(rows, axis=spec.inputs[name].axes.index(BATCH))
        if BATCH in spec.inputs[name].axes
        else array
        for name, array in feeds.items()
    }


@dataclass(frozen=True)
class _Group:
    """Walks whose states lie in one batch after a step that they took together.

    steps    of each walk's utterance
    state    values by the names of inputs
    arrays   of those values that somebody has taken his part of
    """

    executable: Executable
    steps: Sequence[int]
    constant: Mapping[str, Any]
    state: Mapping[str, Any]
    arrays: dict[str, Array] = field(default_factory=dict[str, Array])

    def array(self, name: str) -> Array:
        if name not in self.arrays:
            self.arrays[name] = self.executable.array(self.state[name])
        return self.arrays[name]


@dataclass(frozen=True)
class Place:
    """How far a walk has come: the steps taken, and its state or where that lies."""

    taken: int = 0
    state: Mapping[str, Any] = field(default_factory=dict[str, Any])
    seat: tuple[_Group, int] | None = None


class CompiledRecurrence:
    """One utterance's walk through a recurrent net; its state never leaves the engine.

    In:       begun   what begins and what stays the same, laid out as the net's inputs, batch of one
              rows    of the batch that the executable takes
              layout  how it lies in a batch with others; None: it always steps alone
              key     what it has in common with those others, as far as it begins with it
    """

    def __init__(
        self,
        spec: NetSpec,
        executable: Executable,
        begun: Mapping[str, Array],
        *,
        rows: int,
        layout: BatchLayout | None = None,
        key: Key | None = None,
    ) -> None:
        values = {name: executable.value(array) for name, array in filled(spec, begun, rows).items()}
        self._spec = spec
        self._executable = executable
        self._rows = rows
        self._layout = layout
        self._key = key
        self._constant = {name: value for name, value in values.items() if name not in spec.state}
        self.new = [name for name in spec.inputs if name not in values]
        self._shown = list(spec.gives)
        self._steps = layout.steps(begun) if layout else 0
        self._is_open = True
        self.place = Place(state={name: values[name] for name in spec.state})
        self.number = next(NUMBERS)

    def batch_key(self, tensors: Tensors) -> Hashable | None:
        """Return what its next step has in common with those it may join; None: it is taken alone.

        A state that grows has grown by as many steps as were taken, so those are part of it.
        """
        if self._layout is None or self._key is None or not self._is_open:
            return None
        new = self._layout.key(tensors, self.new)
        taken = self.place.taken if self._layout.grows else 0
        return None if new is None else (tuple(self.new), self._key, new, taken)

    def step(self, tensors: Tensors) -> dict[str, Array]:
        self.check_open()
        spec, executable = self._spec, self._executable
        packed = filled(spec, spec.pack(tensors, self.new), self._rows)
        new = {name: executable.value(array) for name, array in packed.items()}
        results = executable.run_values({**self._constant, **self._state(), **new})
        state = {name: results[after] for name, after in spec.state.items()}
        given = spec.unpack({name: executable.array(results[name]) for name in self._shown}, self._shown)
        self._go_on(Place(self.place.taken + 1, state))
        return given

    def close(self) -> None:
        self._is_open = False
        self._constant = {}
        self.place = Place()

    @property
    def steps(self) -> int:
        """Length of its utterance along the net's ragged axis."""
        return self._steps

    def check_open(self) -> None:
        if not self._is_open:
            raise Cancelled("step after close")

    def own(self) -> dict[str, Array]:
        """Return all it steps from, a batch of one."""
        return {**self._first_rows(self._constant), **self._own_state()}

    def sit(self, group: _Group, place: int) -> None:
        """Go on by a step that was taken together, and leave its state in the batch."""
        self._go_on(Place(self.place.taken + 1, seat=(group, place)))

    def go_back(self, place: Place) -> None:
        """Be again where it was, as if the steps since then had not been taken."""
        self._go_on(place)

    def _go_on(self, place: Place) -> None:
        self.place = place
        if not self._is_open:  # closed from another thread meanwhile
            self.place = Place()

    def _state(self) -> Mapping[str, Any]:
        """Return its state as its own executable takes it, out of the batch in which it lies."""
        if self.place.seat is None:
            return self.place.state
        state = filled(self._spec, self._own_state(), self._rows)
        return {name: self._executable.value(array) for name, array in state.items()}

    def _own_state(self) -> dict[str, Array]:
        """Return its state, a batch of one."""
        if self.place.seat is None:
            return self._first_rows(self.place.state)
        group, place = self.place.seat
        layout = self._layout
        assert layout is not None
        return {
            name: layout.row(after, group.array(name), place, group.steps)
            for name, after in self._spec.state.items()
        }

    def _first_rows(self, values: Mapping[str, Any]) -> dict[str, Array]:
        arrays = {name: self._executable.array(value) for name, value in values.items()}
        if self._rows == 1:
            return arrays
        axes = {name: self._spec.inputs[name].axes for name in arrays}
        return {
            name: array[(slice(None),) * axes[name].index(BATCH) + (slice(1),)]
            if BATCH in axes[name]
            else array
            for name, array in arrays.items()
        }


def step_together(
    layout: BatchLayout,
    executable: Executable,
    rows: int,
    walks: Sequence[CompiledRecurrence],
    batch: Sequence[Tensors],
) -> list[dict[str, Array]]:
    """Take the next step of walks whose keys are equal, as one batch; if it fails, none has gone on.

    In:       rows  of the batch that the executable takes
    """
    spec, new = layout.spec, walks[0].new
    group = _seated(executable, walks) or _gathered(layout, executable, rows, walks)
    packed = layout.joined([spec.pack(tensors, new) for tensors in batch], rows)
    values = {name: executable.value(array) for name, array in packed.items()}
    results = executable.run_values({**group.constant, **group.state, **values})
    arrays = {name: executable.array(results[name]) for name in spec.gives}
    given = [
        spec.unpack({name: layout.row(name, arrays[name], place, group.steps) for name in arrays}, arrays)
        for place in range(len(walks))
    ]
    after = replace(group, state={name: results[after] for name, after in spec.state.items()}, arrays={})
    for place, walk in enumerate(walks):
        walk.sit(after, place)
    return given


def _seated(executable: Executable, walks: Sequence[CompiledRecurrence]) -> _Group | None:
    """Return the batch in which just these walks lie, in this order."""
    seats = [walk.place.seat for walk in walks]
    first = seats[0]
    if first is None or first[0].executable is not executable or len(first[0].steps) != len(walks):
        return None
    group = first[0]
    is_same = all(seat is not None and seat[0] is group and seat[1] == k for k, seat in enumerate(seats))
    return group if is_same else None


def _gathered(
    layout: BatchLayout, executable: Executable, rows: int, walks: Sequence[CompiledRecurrence]
) -> _Group:
    """Lay walks side by side that were alone, or in other batches."""
    own = [walk.own() for walk in walks]
    for walk in walks:
        walk.check_open()  # one that was closed meanwhile had nothing left
    joined = layout.joined(own, rows)
    values = {name: executable.value(array) for name, array in joined.items()}
    state = {name: values.pop(name) for name in layout.spec.state}
    return _Group(executable, [walk.steps for walk in walks], values, state)
