"""Read streams: the two that blocks build on, one over arrays at hand, one over windows of a source."""

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from voxstack.core.blocks import Stream
from voxstack.core.errors import Cancelled, NetError
from voxstack.core.nets import Ragged
from voxstack.core.padding import extended
from voxstack.core.ports import Array, Ports, Tensors
from voxstack.core.shapes import Window, kept_steps, new_steps, reach, window
from voxstack.core.sizes import ANY, Sizes

__all__ = ["EVERYTHING", "ArrayStream", "WindowStream", "empty", "join", "length"]

EVERYTHING = 1 << 40
"""More steps than any utterance has; `read(EVERYTHING)` reads to the end."""


def length(tensors: Tensors) -> int:
    """Return the number of steps of a read."""
    return min((len(tensor) for tensor in tensors.values()), default=0)


def empty(gives: Ports) -> dict[str, Array]:
    """Return what a stream gives after its end: no steps, right dtypes."""
    return {
        name: np.zeros(
            (0, *(axis if isinstance(axis, int) else 0 for axis in port.axes[1:])), dtype=port.dtype
        )
        for name, port in gives.items()
    }


def join(chunks: list[Tensors]) -> dict[str, Array]:
    """Return chunks joined along the first axis."""
    if len(chunks) == 1:
        return dict(chunks[0])
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


class ArrayStream:
    """A stream over whole tensors; `gather(start, stop)` returns the steps asked for."""

    def __init__(self, gather: Callable[[int, int], Tensors], end: int) -> None:
        self._gather: Callable[[int, int], Tensors] | None = gather
        self._end = end
        self._position = 0

    @classmethod
    def over(cls, tensors: Tensors) -> "ArrayStream":
        """Return a stream over tensors that share their first axis."""
        return cls(lambda start, stop: {name: t[start:stop] for name, t in tensors.items()}, length(tensors))

    def read(self, steps: int) -> Tensors:
        if self._gather is None:
            raise Cancelled("read after close")
        start = self._position
        self._position = min(start + steps, self._end)
        return self._gather(start, self._position)

    def close(self) -> None:
        self._gather = None


class Compute(Protocol):
    """Turn the inputs of one window into its output, before cropping; must not keep anything."""

    def __call__(self, inputs: Tensors, window: Window) -> Tensors: ...


class WindowStream:
    """A stream that computes windows of its source, each with the context that makes it exact.

    Short reads far from the start would recompute more than they give, so windows may give more than
    was asked for (`shapes.new_steps`); what is left over is kept for the next read.

    In:       sizes  those that the net accepts; every window has one of them
    """

    def __init__(
        self,
        source: Stream,
        ragged: Ragged,
        gives: Ports,
        compute: Compute,
        *,
        sequential: bool = False,
        sizes: Sizes = ANY,
    ) -> None:
        self._source: Stream | None = source
        self._ragged = ragged
        self._compute = compute
        self._sequential = sequential
        self._sizes = sizes
        self._kept = kept_steps(ragged, sizes)
        self._gives = gives
        self._inputs: dict[str, Array] = {}
        self._base = 0
        self._arrived = 0
        self._end: int | None = None
        self._next = 0
        self._ready: list[Mapping[str, Array]] = []

    def read(self, steps: int) -> Tensors:
        """Return `steps` output steps, running as few windows as that takes."""
        if self._source is None:
            raise Cancelled("read after close")
        taken: list[Tensors] = []
        while steps > 0:
            if not self._ready:
                result = self._run(-(-steps // self._ragged.hop))
                if result is None:
                    break
                self._ready.append(result)
            chunk = self._ready.pop()
            size = length(chunk)
            if size > steps:
                self._ready.append({name: tensor[steps:] for name, tensor in chunk.items()})
                chunk = {name: tensor[:steps] for name, tensor in chunk.items()}
            taken.append(chunk)
            steps -= min(size, steps)
        return join(taken) if taken else empty(self._gives)

    def close(self) -> None:
        if self._source is not None:
            self._source.close()
        self._source = None
        self._inputs = {}
        self._ready = []

    def _run(self, new: int) -> Tensors | None:
        """Compute the next window of at least `new` input steps, or None at the end."""
        ragged, start = self._ragged, self._next
        new = new_steps(ragged, start, new, sequential=self._sequential) or EVERYTHING
        if ragged.chunkable and self._sizes.largest:
            new = min(new, self._sizes.largest)
        self._pull(reach(ragged, self._sizes, start, new, sequential=self._sequential))
        stop = start + new if self._end is None else min(start + new, self._end)
        if stop <= start:
            return None
        plan = window(ragged, start, stop, self._end, self._sizes, seen=self._arrived)
        inputs = {
            name: extended(tensor[plan.lo - self._base : plan.hi - self._base], plan, ragged.pad)
            for name, tensor in self._inputs.items()
        }
        outputs = self._compute(inputs, plan)
        hop = self._ragged.hop
        for name, tensor in outputs.items():
            if len(tensor) != plan.size * hop:
                raise NetError(
                    f"'{name}' came out with {len(tensor)} steps for {plan.size} '{self._ragged.axis}'; "
                    f"hop {hop} makes {plan.size * hop}; state the right hop in addon.json"
                )
        self._next = start + plan.keep // hop
        self._forget(max(self._next - self._kept, 0))
        return {name: tensor[plan.crop : plan.crop + plan.keep] for name, tensor in outputs.items()}

    def _pull(self, until: int) -> None:
        """Read the source until input step `until` has arrived, or its end is known."""
        assert self._source is not None
        if self._end is not None or until <= self._arrived:
            return
        wanted = until - self._arrived
        chunk = self._source.read(wanted)
        got = length(chunk)
        self._arrived += got
        if got < wanted:
            self._end = self._arrived
        if got or not self._inputs:
            self._inputs = join([self._inputs, chunk]) if self._inputs else dict(chunk)

    def _forget(self, before: int) -> None:
        """Drop input steps that no later window needs."""
        if before > self._base:
            drop = before - self._base
            self._inputs = {name: tensor[drop:] for name, tensor in self._inputs.items()}
            self._base = before
