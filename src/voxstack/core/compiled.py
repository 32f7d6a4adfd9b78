"""Make a Net of executables: one for any size, or one for each bucket; a wrong shape never reaches them."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from voxstack.core.errors import Cancelled, ConfigError, NetError
from voxstack.core.executables import Executable, FixedAxes
from voxstack.core.layouts import BATCH
from voxstack.core.nets import NetSpec
from voxstack.core.policies import check_policy
from voxstack.core.ports import Array, Tensors
from voxstack.core.recurrence import first_state
from voxstack.core.sizes import ShapePolicy

__all__ = ["CompiledNet", "CompiledRecurrence", "compiled", "variants"]

Key = tuple[int, int]
"""Steps of the ragged axis and utterances of the batch; 0 where any number may come."""


def variants(spec: NetSpec, shapes: ShapePolicy, *, locked: bool = True) -> list[FixedAxes]:
    """Return the sizes for which a net has to be compiled: {} where they are free, or are not `locked`.

    Raises:   ConfigError if the net cannot be run at such sizes
    """
    fault = check_policy(spec, shapes)
    if fault is not None:
        raise ConfigError(fault, where=f"net '{spec.name}'")
    return list(_sizes(spec, shapes)) if shapes.is_fixed and locked else [{}]


def _sizes(spec: NetSpec, shapes: ShapePolicy) -> Iterator[FixedAxes]:
    axes = {axis for tensor in spec.inputs.values() for axis in tensor.axes}
    for batch in shapes.batch.buckets or (1,):
        fixed = {BATCH: batch} if BATCH in axes else {}
        if spec.ragged is None:
            yield fixed
            continue
        for steps in shapes.steps.buckets:
            yield {**fixed, spec.ragged.axis: steps}


def compiled(
    spec: NetSpec,
    shapes: ShapePolicy,
    make: Callable[[FixedAxes], Executable],
    *,
    threads: int = 1,
    locked: bool = True,
) -> "CompiledNet":
    """Return a net made ready for each of the sizes of a policy; not `locked`: once, for all of them."""
    made = [make(axes) for axes in variants(spec, shapes, locked=locked)]
    keys = [_key(spec, axes) for axes in _sizes(spec, shapes)] if shapes.is_fixed else [(0, 0)]
    executables = dict(zip(keys, made if len(made) == len(keys) else made * len(keys), strict=True))
    return CompiledNet(spec, shapes, executables, threads)


class CompiledNet:
    """A net in one or several executables; safe from many threads at once."""

    def __init__(
        self, spec: NetSpec, shapes: ShapePolicy, executables: Mapping[Key, Executable], threads: int = 1
    ) -> None:
        self.spec = spec
        self.shapes = shapes
        self.threads = threads
        self._executables = dict(executables)
        self._any = next(iter(self._executables.values()))

    @property
    def runtime(self) -> str:
        """The engine, its version, and the provider or device that really runs, for people."""
        return self._any.runtime

    @property
    def precision(self) -> str:
        """What the net computes in; what it was asked to be, never less."""
        return self._any.precision

    def run(self, tensors: Tensors) -> dict[str, Array]:
        feeds = self.spec.pack(tensors)
        executable, feeds = self._for(feeds)
        return self.spec.unpack(executable.run(feeds))

    def begin(self, tensors: Tensors) -> "CompiledRecurrence":
        spec = self.spec
        constant = [name for name in spec.inputs if name in tensors and name not in spec.state]
        begun = {**spec.pack(tensors, constant), **first_state(spec, tensors)}
        executable, begun = self._for(begun)
        return CompiledRecurrence(spec, executable, begun, batch=self._batch)

    def _for(self, feeds: Mapping[str, Array]) -> tuple[Executable, dict[str, Array]]:
        """Return what runs such feeds, and the feeds with a batch that it accepts.

        Raises:   NetError if nothing was compiled for their sizes
        """
        if not self.shapes.is_fixed:
            return self._any, dict(feeds)
        steps = self._steps(feeds)
        found = self._executables.get((steps, self._batch))
        if found is None:
            axis = self.spec.ragged.axis if self.spec.ragged else ""
            raise NetError(
                f"was compiled for {self.shapes.steps} {axis}, got {steps}; plan windows with its sizes",
                where=f"net '{self.spec.name}'",
            )
        return found, _batched(self.spec, feeds, self._batch)

    @property
    def _batch(self) -> int:
        return self.shapes.batch.fit(1) if self.shapes.is_fixed else 1

    def _steps(self, feeds: Mapping[str, Array]) -> int:
        ragged = self.spec.ragged
        for name, tensor in self.spec.inputs.items():
            if ragged is not None and name in feeds and ragged.axis in tensor.axes:
                return feeds[name].shape[tensor.axes.index(ragged.axis)]
        return 0


class CompiledRecurrence:
    """One utterance's walk through a recurrent net; its state never leaves the engine."""

    def __init__(
        self, spec: NetSpec, executable: Executable, begun: Mapping[str, Array], *, batch: int
    ) -> None:
        values = {name: executable.value(array) for name, array in begun.items()}
        self._spec = spec
        self._executable = executable
        self._batch = batch
        self._state = {name: values[name] for name in spec.state}
        self._constant = {name: value for name, value in values.items() if name not in spec.state}
        self._new = [name for name in spec.inputs if name not in values]
        self._shown = list(spec.gives)
        self._is_open = True

    def step(self, tensors: Tensors) -> dict[str, Array]:
        if not self._is_open:
            raise Cancelled("step after close")
        spec, executable = self._spec, self._executable
        packed = _batched(spec, spec.pack(tensors, self._new), self._batch)
        new = {name: executable.value(array) for name, array in packed.items()}
        results = executable.run_values({**self._constant, **self._state, **new})
        self._state = {name: results[after] for name, after in spec.state.items()}
        return spec.unpack({name: executable.array(results[name]) for name in self._shown}, self._shown)

    def close(self) -> None:
        self._is_open = False
        self._constant = {}
        self._state = {}


def _batched(spec: NetSpec, feeds: Mapping[str, Array], batch: int) -> dict[str, Array]:
    """Return feeds of one utterance as a batch of so many, the same in each place."""
    if batch == 1:
        return dict(feeds)
    return {
        name: np.repeat(array, batch, axis=spec.inputs[name].axes.index(BATCH))
        if BATCH in spec.inputs[name].axes
        else array
        for name, array in feeds.items()
    }


def _key(spec: NetSpec, axes: FixedAxes) -> Key:
    return axes.get(spec.ragged.axis, 0) if spec.ragged else 0, axes.get(BATCH, 1)
