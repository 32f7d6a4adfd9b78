"""Add a block to voxstack: the standard encoders, but twice as slow."""

from dataclasses import dataclass

from voxstack.core.ports import Ports, Tensors
from voxstack.core.site import Site
from voxstack.stages.encoders.encoders import Encoders

__all__ = ["SlowEncoders"]


@dataclass(frozen=True)
class SlowEncoders:
    """The standard Encoders, whose every phoneme lasts twice as long."""

    @dataclass(frozen=True)
    class Options:
        """No options."""

    encoders: Encoders

    @classmethod
    def wire(cls, options: Options, site: Site) -> "SlowEncoders":
        return cls(Encoders.wire(Encoders.Options(), site))

    @property
    def takes(self) -> Ports:
        return self.encoders.takes

    @property
    def gives(self) -> Ports:
        return self.encoders.gives

    def run(self, tensors: Tensors) -> Tensors:
        encoded = self.encoders.run(tensors)
        return {**encoded, "durations": encoded["durations"] * 2}
