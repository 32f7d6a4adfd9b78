"""Draw the mel that flows by, one picture for each utterance."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from voxstack.core.blocks import Stream, Timing
from voxstack.core.errors import WiringError
from voxstack.core.ports import Array, Tensors
from voxstack.core.site import Site
from voxstack.stages.audio.diagnostics.drawing import Format, draw_image
from voxstack.stages.audio.diagnostics.passing import PassingBlock, PassingStream, number_of
from voxstack.stages.audio.diagnostics.plotting import Sheet

__all__ = ["MelPlot"]

PERCENTILES = 1.0, 99.5
"""Values beyond these are shown as these: a few outliers must not take the colours of all the rest."""


@dataclass(frozen=True)
class MelPlot(PassingBlock):
    """Draw what flows through one port, frames from left to right, once an utterance is over.

    An utterance that is closed early leaves no picture. Drawing takes a while, in which nobody speaks.

    In:       anything; float [frames, bands] in the port that is drawn
    Out:      the same
    Timing:   1 → 1, no context
    Reports:  mel_plot.full, mel_plot.failed
    Raises:   ConfigError if no file can be made in the folder, a bound makes no sense, or matplotlib is
              not installed; WiringError if the port is not there or has no bands
    """

    @dataclass(frozen=True)
    class Options:
        """Where the pictures go, and what they show.

        path        folder, made if it is missing, below $VOXSTACK_FILES or where the program was started
        name        what its files' names begin with and its events say; null: "mel" and its path
        port        what is drawn: mel, hidden, whatever has bands
        most_s      seconds of an utterance that are kept and drawn; the picture says if that is not all
        most_files  of this name that may be in the folder; what comes then is not drawn
        """

        path: str
        name: str | None = None
        port: str = "mel"
        format: Format = "png"
        most_s: float = 60.0
        most_files: int = 200

    port: str
    sheet: Sheet

    @classmethod
    def wire(cls, options: Options, site: Site) -> "MelPlot":
        flow = cls.flow(site)
        where = f"{site.path}.port"
        port = cls.find(options.port, flow, where=where)
        if len(port.axes) != 2 or not port.dtype.startswith("float"):
            raise WiringError(f"got {port}, want float [frames, bands]", where=where)
        sheet = Sheet.of(options, site, kind="mel_plot", name="mel")
        return cls(sheet.place, cls.told(site), flow, flow, Timing(), options.port, sheet)

    def open(self, tensors: Tensors, source: Stream | None) -> Stream:
        assert source is not None
        return PassingStream(source, _Drawing(self, number_of(tensors)))


class _Drawing:
    """The picture of one utterance."""

    def __init__(self, block: MelPlot, utterance: int) -> None:
        self._block = block
        self._utterance = utterance
        self._kept: list[Array] = []

    def look(self, chunk: Tensors, start: int) -> None:
        left = self._block.sheet.most_steps - start
        if left > 0:
            self._kept.append(chunk[self._block.port][:left].copy())

    def end(self, steps: int) -> None:
        if not self._kept:
            return
        frames = np.concatenate(self._kept)
        sheet, name = self._block.sheet, self._block.port
        low, high = _range(frames)

        def draw(axes: Any) -> None:
            extent = (0.0, len(frames) / sheet.rate, 0.0, float(frames.shape[1]))
            draw_image(axes, frames.T, extent, low=low, high=high)
            axes.set(ylabel=f"{name} band")

        sheet.write(draw, what=name, utterance=self._utterance, steps=steps, high_in=3.0)
        self._kept = []

    def close(self) -> None:
        self._kept = []


def _range(frames: Array) -> tuple[float, float]:
    """Return the values that the darkest and the brightest colour stand for."""
    finite = frames[np.isfinite(frames)]
    if not finite.size:
        return 0.0, 1.0
    low, high = np.percentile(finite, PERCENTILES)
    return float(low), float(high)
