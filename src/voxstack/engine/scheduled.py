"""Put a net's runs in line: each waits for its turn on the net's device, and may be run with others then."""

from collections.abc import Sequence
from typing import Any, cast

from voxstack.core.batching import BatchedNet
from voxstack.core.nets import Net, Recurrence
from voxstack.core.ports import Array, Tensors
from voxstack.engine.batching import known_most
from voxstack.engine.net_around import NetAround, WalkAround
from voxstack.engine.scheduler import Lane

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


class _ScheduledWalk(WalkAround):
    """One utterance's walk through a recurrent net, each step in its turn."""

    def __init__(self, net: Net, walk: Recurrence, lane: Lane, threads: int) -> None:
        super().__init__(walk)
        self._net = net
        self._lane = lane
        self._threads = threads

    def step(self, tensors: Tensors) -> dict[str, Array]:
        return self._lane.run(_Step(self._net, self.walk, tensors), threads=self._threads)


class _NetWork:
    """What a net is to do for one utterance; `asked` knows with which others it may be done."""

    def __init__(self, net: Net, asked: Any, tensors: Tensors) -> None:
        self.net = net
        self.tensors = tensors
        self.most = known_most(net)
        found = asked.batch_key(tensors) if self.most > 1 else None
        self.key = None if found is None else (id(net), found)

    @property
    def where(self) -> str:
        return f"net '{self.net.spec.name}'"


class _Once(_NetWork):
    """One run of a net."""

    def __init__(self, net: Net, tensors: Tensors) -> None:
        super().__init__(net, net, tensors)

    def alone(self) -> dict[str, Array]:
        return self.net.run(self.tensors)

    def together(self, works: Sequence[Any]) -> Sequence[dict[str, Array]]:
        net = cast("BatchedNet", self.net)
        return net.run_many([work.tensors for work in works])


class _Step(_NetWork):
    """One step of a recurrent net."""

    def __init__(self, net: Net, walk: Recurrence, tensors: Tensors) -> None:
        super().__init__(net, walk, tensors)
        self.walk = walk

    def alone(self) -> dict[str, Array]:
        return self.walk.step(self.tensors)

    def together(self, works: Sequence[Any]) -> Sequence[dict[str, Array]]:
        net = cast("BatchedNet", self.net)
        return net.step_many([work.walk for work in works], [work.tensors for work in works])
