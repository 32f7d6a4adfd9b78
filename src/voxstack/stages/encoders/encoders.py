"""Run every encoder net of an addon, in the order in which they need each other's results."""

from collections.abc import Mapping
from dataclasses import dataclass

from voxstack.core.errors import ConfigError, WiringError
from voxstack.core.feeds import needs
from voxstack.core.nets import Net, NetSpec
from voxstack.core.ports import Ports, Tensors
from voxstack.core.site import Site
from voxstack.core.together import in_turn
from voxstack.core.whole import run_whole

__all__ = ["Encoders", "NetEncoder", "in_dependency_order"]


@dataclass(frozen=True)
class NetEncoder:
    """A SequenceBlock around one net that sees the whole utterance at once."""

    net: Net

    @property
    def takes(self) -> Ports:
        return needs(self.net.spec)

    @property
    def gives(self) -> Ports:
        return self.net.spec.gives

    def run(self, tensors: Tensors) -> Tensors:
        results = run_whole(self.net, tensors)
        return {name: results[name] for name in self.net.spec.gives}


@dataclass(frozen=True)
class Encoders:
    """The standard SequenceBlockContainer: every net of role "encoder", found by itself.

    In:       what the nets take and no other encoder gives (ids, controls)
    Out:      what all the nets give, under the nets' own names
    """

    @dataclass(frozen=True)
    class Options:
        """No options: the addon's nets say it all."""

    blocks: tuple[NetEncoder, ...]
    takes: Ports
    gives: Ports

    @classmethod
    def wire(cls, options: Options, site: Site) -> "Encoders":
        nets = {name: net for name, net in site.nets.items() if net.spec.role == "encoder"}
        if not nets:
            raise ConfigError(
                "this addon has no net of role 'encoder'; give one of its nets that role", where=site.path
            )
        for name, net in nets.items():
            if net.spec.state:
                raise ConfigError(
                    f"net '{name}' has state, but an encoder runs once; give it the role 'step' and an "
                    "AutoregressiveDecoder",
                    where=site.path,
                )
        ordered = in_dependency_order({name: net.spec for name, net in nets.items()}, path=site.path)
        blocks = tuple(NetEncoder(nets[name]) for name in ordered)
        gives: Ports = {}
        takes: Ports = {}
        for block in blocks:
            wanted = {name: port for name, port in block.takes.items() if name not in gives}
            site.need(block.takes, {**site.tensors, **gives}, of="the utterance")
            takes = {**takes, **wanted}
            gives = {**gives, **block.gives}
        return cls(blocks, takes, gives)

    def run(self, tensors: Tensors) -> Tensors:
        known = in_turn(self.blocks, tensors)
        return {name: known[name] for name in self.gives}


def in_dependency_order(specs: Mapping[str, NetSpec], *, path: str) -> list[str]:
    """Return the nets' names so that each stands after those whose outputs it takes.

    Raises:   WiringError if two nets give the same name, or if they wait for each other
    """
    giver: dict[str, str] = {}
    for name, spec in specs.items():
        for output in spec.gives:
            if output in giver:
                raise WiringError(
                    f"encoders '{giver[output]}' and '{name}' both give '{output}'; "
                    "rename one of the outputs",
                    where=path,
                )
            giver[output] = name
    waiting = {name: {giver[taken] for taken in spec.takes if taken in giver} for name, spec in specs.items()}
    ordered: list[str] = []
    while waiting:
        ready = [name for name, before in waiting.items() if before <= set(ordered)]
        if not ready:
            raise WiringError(f"{_ring(waiting)}; break the ring", where=path)
        ordered += ready
        waiting = {name: before for name, before in waiting.items() if name not in ready}
    return ordered


def _ring(waiting: Mapping[str, set[str]]) -> str:
    """Say which nets of these, of which none can go first, wait for each other."""
    ring: list[str] = []
    name = next(iter(waiting))
    while name not in ring:
        ring.append(name)
        name = min(waiting[name] & waiting.keys())
    ring = sorted(ring[ring.index(name) :])
    if len(ring) == 1:
        return f"encoder '{name}' waits for its own output"
    return f"encoders {', '.join(map(repr, ring))} wait for each other's outputs"
