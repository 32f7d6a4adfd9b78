"""Put a net's runs in line: each waits for its turn on the net's device."""

from collections.abc import Hashable, Sequence
from typing import Any

from voxstack.core.nets import Net, Recurrence
from voxstack.core.ports import Array, Tensors
from voxstack.engine.net_around import NetAround
from voxstack.engine.scheduler import Lane, Work

__all__ = ["ScheduledNet"]

class ScheduledNet(NetAround):
    """A net whose runs and steps are run in a lane.

    In:       threads  that one run keeps busy
    """

    def __init__(self, net: Net, lane: Lane, *, threads: int) -> None:
        super().__init__(net)
        self._lane = lane
        self._threads = threads

    def run(self, tensors: Tensors) -> dict[str, Array]:
        return self._lane.run(_Once(self.net, tensors), threads=self._threads)

    def begin(self, tensors: Tensors) -> Recurrence:
        return _ScheduledWalk(self.net, self.net.begin(tensors), self._lane, self._threads)


class _ScheduledWalk:
    """One utterance's walk through a recurrent net, each step in its turn."""

    def __init__(self, net: Net, walk: Recurrence, lane: Lane, threads: int) -> None:
        self._net = net
        self._walk = walk
        self._lane = lane
        self._threads = threads

    def step(self, tensors: Tensors) -> dict[str, Array]:
        return self._lane.run(_Step(self._net, self._walk, tensors), threads=self._threads)

    def close(self) -> None:
        self._walk.close()


class _Once:
    """One run of a net."""

    key: Hashable | None = None
    most = 1

    def __init__(self, net: Net, tensors: Tensors) -> None:
        self._net = net
        self._tensors = tensors

    @property
    def where(self) -> str:
        return f"net '{self._net.spec.name}'"

    def alone(self) -> dict[str, Array]:
        return self._net.run(self._tensors)

    def together(self, works: Sequence[Work]) -> Sequence[Any]:
        raise NotImplementedError


class _Step:
    """One step of a recurrent net."""

    key: Hashable | None = None
    most = 1

    def __init__(self, net: Net, walk: Recurrence, tensors: Tensors) -> None:
        self._net = net
        self._walk = walk
        self._tensors = tensors

    @property
    def where(self) -> str:
        return f"net '{self._net.spec.name}'"

    def alone(self) -> dict[str, Array]:
        return self._walk.step(self._tensors)

    def together(self, works: Sequence[Work]) -> Sequence[Any]:
        raise NotImplementedError
