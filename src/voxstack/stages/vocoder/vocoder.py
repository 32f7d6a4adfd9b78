"""Turn a stream of mel frames into a stream of samples, over windows with context."""

from dataclasses import dataclass

from voxstack.core.errors import WiringError
from voxstack.core.site import Site
from voxstack.core.windowed import WindowedNet

__all__ = ["Vocoder"]


@dataclass(frozen=True)
class Vocoder(WindowedNet):
    """A net that was trained on mels of one format and serves every voice that makes such mels.

    In:       mel      float32 [frames, bands], in the vocoder's own format
    Out:      samples  float32 [frames · hop], in [-1, 1]
    Timing:   1 → hop, context as measured at import
    """

    @dataclass(frozen=True)
    class Options:
        """`net` names the net; needed only if the addon has several of role "vocoder"."""

        net: str | None = None

    @classmethod
    def wire(cls, options: Options, site: Site) -> "Vocoder":
        block = cls.over(site.net(options.net, role="vocoder"), site)
        if set(block.gives) != {"samples"}:
            raise WiringError(
                f"a vocoder gives 'samples'; net '{block.net.spec.name}' gives {sorted(block.gives)}",
                where=site.path,
            )
        return block
