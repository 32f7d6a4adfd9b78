"""Make a Net of executables: one for any size, or one for each bucket; a wrong shape never reaches them."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import cached_property

from voxstack.core.batching import BatchLayout
from voxstack.core.errors import ConfigError, NetError
from voxstack.core.executables import Executable, FixedAxes
from voxstack.core.layouts import BATCH
from voxstack.core.nets import NetSpec
from voxstack.core.policies import check_policy
from voxstack.core.ports import Array, Tensors
from voxstack.core.recurrence import first_state
from voxstack.core.sizes import ShapePolicy
from voxstack.core.walks import CompiledRecurrence, filled, step_together

__all__ = ["CompiledNet", "compiled", "variants"]

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
    return CompiledNet(spec, shapes, executables, threads, locked=locked)


class CompiledNet:
    """A net in one or several executables; safe from many threads at once."""

    def __init__(
        self,
        spec: NetSpec,
        shapes: ShapePolicy,
        executables: Mapping[Key, Executable],
        threads: int = 1,
        *,
        locked: bool = True,
    ) -> None:
        self.spec = spec
        self.shapes = shapes
        self.threads = threads
        self._executables = dict(executables)
        self._any = next(iter(self._executables.values()))
        self._takes_any_batch = not (shapes.is_fixed and locked)

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
        rows = self._rows(1)
        executable = self._executable(self._steps(feeds), rows)
        return self.spec.unpack(executable.run(filled(self.spec, feeds, rows)))

    def begin(self, tensors: Tensors) -> CompiledRecurrence:
        spec, layout = self.spec, self._layout
        constant = [name for name in spec.inputs if name in tensors and name not in spec.state]
        begun = {**spec.pack(tensors, constant), **first_state(spec, tensors)}
        rows = self._rows(1)
        executable = self._executable(self._steps(begun), rows)
        given = [name for name in spec.inputs if name in tensors]
        key = layout.key(tensors, given) if layout else None
        return CompiledRecurrence(spec, executable, begun, rows=rows, layout=layout, key=key)

    def batch_key(self, tensors: Tensors) -> Hashable | None:
        """Return what a run has in common with those it may join; None: it runs alone."""
        layout = self._layout
        return None if layout is None or self.spec.state else layout.key(tensors, list(self.spec.inputs))

    def run_many(self, batch: Sequence[Tensors]) -> list[dict[str, Array]]:
        """Run several utterances' tensors; return what `run` gives for each, in their order.

        Those whose keys differ run one after the other.

        Raises:   NetError if one of them cannot be run, and none is given back then; Cancelled if stopped
        """
        results: dict[int, dict[str, Array]] = {}
        for places in self._joining([self.batch_key(tensors) for tensors in batch]):
            alone = len(places) == 1
            found = [self.run(batch[places[0]])] if alone else self._run_together([batch[k] for k in places])
            results.update(zip(places, found, strict=True))
        return [results[place] for place in range(len(batch))]

    def step_many(
        self, walks: Sequence[CompiledRecurrence], batch: Sequence[Tensors]
    ) -> list[dict[str, Array]]:
        """Take the next step of several walks of this net; return what `step` gives for each, in their order.

        Those whose keys differ step one after the other.

        Raises:   NetError if one of them cannot be taken, Cancelled if stopped or one was closed; no walk has
                  gone on then
        """
        places = [walk.place for walk in walks]
        try:
            for walk in walks:
                walk.check_open()
            return self._steps_of(walks, batch)
        except BaseException:
            for walk, place in zip(walks, places, strict=True):
                walk.go_back(place)
            raise

    def _steps_of(
        self, walks: Sequence[CompiledRecurrence], batch: Sequence[Tensors]
    ) -> list[dict[str, Array]]:
        keys = [walk.batch_key(tensors) for walk, tensors in zip(walks, batch, strict=True)]
        results: dict[int, dict[str, Array]] = {}
        for places in self._joining(keys):
            # Always in the same order: the same walks find their states lying together.
            places.sort(key=lambda place: walks[place].number)
            found = self._step_together([walks[k] for k in places], [batch[k] for k in places])
            results.update(zip(places, found, strict=True))
        return [results[place] for place in range(len(batch))]

    def _run_together(self, batch: Sequence[Tensors]) -> list[dict[str, Array]]:
        spec, layout = self.spec, self._layout
        assert layout is not None
        feeds = [spec.pack(tensors) for tensors in batch]
        steps = [self._steps(feed) for feed in feeds]
        rows = self._rows(len(batch))
        results = self._executable(max(steps), rows).run(layout.joined(feeds, rows))
        return [
            spec.unpack({name: layout.row(name, results[name], place, steps) for name in spec.outputs})
            for place in range(len(batch))
        ]

    def _step_together(
        self, walks: Sequence[CompiledRecurrence], batch: Sequence[Tensors]
    ) -> list[dict[str, Array]]:
        layout = self._layout
        if len(walks) == 1 or layout is None:
            return [walk.step(tensors) for walk, tensors in zip(walks, batch, strict=True)]
        rows = self._rows(len(walks))
        executable = self._executable(max(walk.steps for walk in walks), rows)
        return step_together(layout, executable, rows, walks, batch)

    def _joining(self, keys: Sequence[Hashable | None]) -> list[list[int]]:
        """Return the places of those that go together: of one key, and at most as many as a batch holds."""
        places: dict[Hashable, list[int]] = {}
        for place, key in enumerate(keys):
            places.setdefault(("alone", place) if key is None else ("joins", key), []).append(place)
        most = len(keys) if self._takes_any_batch else self.shapes.batch.largest or len(keys)
        return [group[k : k + most] for group in places.values() for k in range(0, len(group), most)]

    @cached_property
    def _layout(self) -> BatchLayout | None:
        most = None if self._takes_any_batch else self.shapes.batch.largest
        return None if most == 1 else BatchLayout.of(self.spec)

    def _rows(self, utterances: int) -> int:
        """Return how many rows the batch of so many utterances has."""
        if not self._has_batch:
            return 1
        if self._takes_any_batch and (utterances > 1 or not self.shapes.is_fixed):
            return utterances
        return self.shapes.batch.fit(utterances)

    @cached_property
    def _has_batch(self) -> bool:
        return any(BATCH in tensor.axes for tensor in self.spec.inputs.values())

    def _executable(self, steps: int, rows: int) -> Executable:
        """Return what runs so many steps and rows; raise NetError if nothing was compiled for them."""
        if not self.shapes.is_fixed:
            return self._any
        found = self._executables.get((steps, self._rows(1) if self._takes_any_batch else rows))
        if found is None:
            axis = self.spec.ragged.axis if self.spec.ragged else ""
            raise NetError(
                f"was compiled for {self.shapes.steps} {axis}, got {steps}; plan windows with its sizes",
                where=f"net '{self.spec.name}'",
            )
        return found

    def _steps(self, feeds: Mapping[str, Array]) -> int:
        ragged = self.spec.ragged
        for name, tensor in self.spec.inputs.items():
            if ragged is not None and name in feeds and ragged.axis in tensor.axes:
                return feeds[name].shape[tensor.axes.index(ragged.axis)]
        return 0


def _key(spec: NetSpec, axes: FixedAxes) -> Key:
    return axes.get(spec.ragged.axis, 0) if spec.ragged else 0, axes.get(BATCH, 1)
