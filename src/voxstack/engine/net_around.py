"""Stand around a net: whoever looks at its runs or walks says how, all else is the net's own."""

from collections.abc import Callable, Sequence
from typing import Any

from voxstack.core.nets import Net, NetSpec, Recurrence
from voxstack.core.ports import Array, Tensors
from voxstack.core.sizes import ShapePolicy

__all__ = ["NetAround", "WalkAround"]


class NetAround:
    """A net that does what the one inside it does; several utterances' runs at once it hands on unseen."""

    def __init__(self, net: Net) -> None:
        self.net = net

    @property
    def spec(self) -> NetSpec:
        return self.net.spec

    @property
    def shapes(self) -> ShapePolicy:
        return self.net.shapes

    @property
    def runtime(self) -> str:
        return self.net.runtime

    @property
    def precision(self) -> str:
        return self.net.precision

    def run(self, tensors: Tensors) -> dict[str, Array]:
        return self.net.run(tensors)

    def begin(self, tensors: Tensors) -> Recurrence:
        return self.net.begin(tensors)

    @property
    def step_many(self) -> Callable[[Sequence[Recurrence], Sequence[Tensors]], list[dict[str, Array]]]:
        """Steps of several walks, if the net inside can take them: it knows its own walks only."""
        inner = self.__getattr__("step_many")
        return lambda walks, batch: inner([_inside(walk) for walk in walks], batch)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.net, name)


class WalkAround:
    """A walk through a net that does what the one inside it does."""

    def __init__(self, walk: Recurrence) -> None:
        self.walk = walk

    def step(self, tensors: Tensors) -> dict[str, Array]:
        return self.walk.step(tensors)

    def close(self) -> None:
        self.walk.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.walk, name)


def _inside(walk: Recurrence) -> Recurrence:
    """Return the walk that one layer of wrapping stands around; the next one takes off its own."""
    return walk.walk if isinstance(walk, WalkAround) else walk
