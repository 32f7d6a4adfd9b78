"""Put a net's runs in line: each waits for its turn on the net's device, and may be run with others then."""

from collections.abc import Sequence
from typing import Any, cast

from voxstack.core.batching import BatchedNet
from voxstack.core.nets import Net, Recurrence
from voxstack.core.ports import Array, Tensors
from voxstack.engine.batching import known_most
from voxstack.engine.net_around import NetAround, WalkAround
from voxstack.engine.runs import Work
from voxstack.engine.scheduler import Lane

__all__ = ["ScheduledNet"]


class ScheduledNet(NetAround):
    """A net whose runs and steps are run in a lane.

    In:       threads         that one run keeps busy
              can_stand_back  whether it computes in the thread that runs it
    """

    def __init__(self, net: Net, lane: Lane, *, threads: int, can_stand_back: bool = True) -> None:
        super().__init__(net)
        self._lane = lane
        self._threads = threads
        self.can_stand_back = can_stand_back

    def run(self, tensors: Tensors) -> dict[str, Array]:
        return self.take_turn(_Once(self, tensors))

    def begin(self, tensors: Tensors) -> Recurrence:
        return _ScheduledWalk(self, self.net.begin(tensors))

    def take_turn(self, work: Work) -> dict[str, Array]:
        """Return what a work of this net gives, run when it is its turn."""
        return self._lane.run(work, threads=self._threads)


class _ScheduledWalk(WalkAround):
    """One utterance's walk through a recurrent net, each step in its turn."""

    def __init__(self, scheduled: ScheduledNet, walk: Recurrence) -> None:
        super().__init__(walk)
        self._scheduled = scheduled

    def step(self, tensors: Tensors) -> dict[str, Array]:
        return self._scheduled.take_turn(_Step(self._scheduled, self.walk, tensors))


class _NetWork:
    """What a net is to do for one utterance; `asked` knows with which others it may be done."""

    def __init__(self, scheduled: ScheduledNet, asked: Any, tensors: Tensors) -> None:
        self.net = net = scheduled.net
        self.can_stand_back = scheduled.can_stand_back
        self.tensors = tensors
        self.most = known_most(net)
        found = asked.batch_key(tensors) if self.most > 1 else None
        self.key = None if found is None else (id(net), found)

    @property
    def where(self) -> str:
        return f"net '{self.net.spec.name}'"


class _Once(_NetWork):
    """One run of a net."""

    def __init__(self, scheduled: ScheduledNet, tensors: Tensors) -> None:
        super().__init__(scheduled, scheduled.net, tensors)

    def alone(self) -> dict[str, Array]:
        return self.net.run(self.tensors)

    def together(self, works: Sequence[Any]) -> Sequence[dict[str, Array]]:
        net = cast("BatchedNet", self.net)
        return net.run_many([work.tensors for work in works])


class _Step(_NetWork):
    """One step of a recurrent net."""

    def __init__(self, scheduled: ScheduledNet, walk: Recurrence, tensors: Tensors) -> None:
        super().__init__(scheduled, walk, tensors)
        self.walk = walk

    def alone(self) -> dict[str, Array]:
        return self.walk.step(self.tensors)

    def together(self, works: Sequence[Any]) -> Sequence[dict[str, Array]]:
        net = cast("BatchedNet", self.net)
        return net.step_many([work.walk for work in works], [work.tensors for work in works])
