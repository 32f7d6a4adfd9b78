"""Stand around a net: whoever looks at its runs or walks says how, all else is the net's own."""

from typing import Any

from voxstack.core.nets import Net, NetSpec, Recurrence
from voxstack.core.ports import Array, Tensors
from voxstack.core.sizes import ShapePolicy

__all__ = ["NetAround"]


class NetAround:
    """A net that does what the one inside it does."""

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

    def __getattr__(self, name: str) -> Any:
        return getattr(self.net, name)
