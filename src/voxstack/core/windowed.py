"""Run a net over windows of a stream: what decoders, vocoders and convolutional refiners share."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from voxstack.core.blocks import Stream, Timing
from voxstack.core.errors import ConfigError
from voxstack.core.feeds import Feeds, needs
from voxstack.core.nets import Net, Ragged
from voxstack.core.ports import Array, Port, Ports, Tensors
from voxstack.core.shapes import Window, timing
from voxstack.core.site import Site
from voxstack.core.streams import WindowStream

__all__ = ["WindowedNet"]


@dataclass(frozen=True)
class WindowedNet:
    """A StreamableBlock around one net with a ragged axis.

    Inputs on the ragged axis come from the stream above, the others from the utterance's tensors.

    Timing:   1 → hop, context as the net's `ragged` says; not chunkable: runs once, on everything
    """

    net: Net
    ragged: Ragged
    takes: Ports
    consumes: Ports | None
    gives: Ports
    timing: Timing
    sequential: bool = False

    @classmethod
    def over(cls, net: Net, site: Site) -> Self:
        """Build the block for `net` as it stands at `site`."""
        spec = net.spec
        if spec.ragged is None:
            raise ConfigError(
                f"net '{spec.name}' has no ragged axis, so it cannot run over windows; "
                'state "ragged" for it in addon.json, or make it an encoder',
                where=site.path,
            )
        if spec.state:
            raise ConfigError(
                f"net '{spec.name}' has state, which a block that runs windows does not carry on; "
                "choose a block for recurrent nets",
                where=site.path,
            )
        ragged = spec.ragged
        wanted = {name: _with_mel(port, site) for name, port in needs(spec).items()}
        consumes = {name: port for name, port in wanted.items() if port.axes[:1] == (ragged.axis,)}
        takes = {name: port for name, port in wanted.items() if name not in consumes}
        source = site.source or {}
        site.need(consumes, source, of="the stream above")
        site.need(takes, site.tensors, of="the utterance")
        rate = next((source[name].rate for name in consumes), None)
        rate = rate * ragged.hop if rate is not None else None
        sequential = any(source[name].sequential for name in consumes)
        return cls(
            net=net,
            ragged=ragged,
            takes=takes,
            consumes=consumes,
            gives={
                name: replace(_with_mel(port, site), rate=rate, sequential=sequential)
                for name, port in spec.gives.items()
            },
            timing=timing(ragged, net.shapes),
            sequential=sequential,
        )

    def open(self, tensors: Tensors, source: Stream | None) -> Stream:
        assert source is not None
        feeds = Feeds(self.net.spec, tensors, consumed=self.consumes)

        def compute(inputs: Tensors, window: Window) -> Mapping[str, Array]:
            wanted = {name: inputs[name] for name in self.consumes or {}}
            return self.net.run(feeds.window(wanted, window))

        return WindowStream(
            source,
            self.ragged,
            self.gives,
            compute,
            sequential=self.sequential,
            sizes=self.net.shapes.steps,
        )


def _with_mel(port: Port, site: Site) -> Port:
    return replace(port, mel=site.mel) if port.name == "mel" else port
