"""Decode frames in a single pass over windows: parallel decoders, flows, convolutional refiners."""

from dataclasses import dataclass

from voxstack.core.site import Site
from voxstack.core.windowed import WindowedNet

__all__ = ["Decoder"]


@dataclass(frozen=True)
class Decoder(WindowedNet):
    """A net that turns a stream of frames into another (hop 1) or into samples (hop > 1).

    In:       what the net takes on its ragged axis, [frames, …]
    Out:      what the net gives, [frames · hop, …]
    Timing:   1 → hop, context as measured at import
    """

    @dataclass(frozen=True)
    class Options:
        """`net` names the net; needed only if the addon has several of role "decoder"."""

        net: str | None = None

    @classmethod
    def wire(cls, options: Options, site: Site) -> "Decoder":
        return cls.over(site.net(options.net, role="decoder"), site)
