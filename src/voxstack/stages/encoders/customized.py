"""Run every encoder net of an addon, those that do not wait for each other at the same time."""

from dataclasses import dataclass

from voxstack.core.ports import Ports, Tensors
from voxstack.core.site import Site
from voxstack.core.together import run_together
from voxstack.stages.encoders.encoders import Encoders, NetEncoder

__all__ = ["CustomizedEncoders"]


@dataclass(frozen=True)
class CustomizedEncoders:
    """Encoders that run in parallel: each net starts as soon as it has what it takes.

    What comes out is what `Encoders` gives, to the bit. A stream opened by an engine runs them in
    threads; where a profile puts them on devices of their own, these work at the same time.

    In:       what the nets take and no other encoder gives (ids, controls)
    Out:      what all the nets give, under the nets' own names
    """

    @dataclass(frozen=True)
    class Options:
        """No options: the addon's nets say it all, its profile where each runs."""

    blocks: tuple[NetEncoder, ...]
    takes: Ports
    gives: Ports

    @classmethod
    def wire(cls, options: Options, site: Site) -> "CustomizedEncoders":
        found = Encoders.wire(Encoders.Options(), site)
        return cls(found.blocks, found.takes, found.gives)

    def run(self, tensors: Tensors) -> Tensors:
        known = run_together(self.blocks, tensors)
        return {name: known[name] for name in self.gives}
