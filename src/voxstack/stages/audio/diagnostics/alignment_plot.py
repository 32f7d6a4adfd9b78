"""Draw which symbol each frame speaks, one picture for each utterance."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from voxstack.core.blocks import Stream, Timing
from voxstack.core.errors import WiringError
from voxstack.core.events import ALIGNMENT, Event, listening
from voxstack.core.ports import Array, Tensors
from voxstack.core.site import Site
from voxstack.stages.audio.diagnostics.drawing import Format, draw_boxes, draw_image
from voxstack.stages.audio.diagnostics.passing import PassingBlock, PassingStream, Place, number_of
from voxstack.stages.audio.diagnostics.plotting import Sheet

__all__ = ["AlignmentPlot"]


@dataclass(frozen=True)
class AlignmentPlot(PassingBlock):
    """Draw the alignment that blocks above report while they are read, once an utterance is over.

    Attention is drawn as shares, durations as boxes. An utterance that is closed early leaves no
    picture. Drawing takes a while, in which nobody speaks.

    In:       anything; `durations`, if it is named, int64 or float32 [phonemes], frames
    Out:      the same
    Timing:   1 → 1, no context
    Reports:  alignment_plot.empty, alignment_plot.full, alignment_plot.failed
    Raises:   ConfigError if no file can be made in the folder, a bound makes no sense, or matplotlib is
              not installed; WiringError if the durations are not there
    """

    @dataclass(frozen=True)
    class Options:
        """Where the pictures go, and what they show.

        path        folder, made if it is missing, below $VOXSTACK_FILES or where the program was started
        name        what its files' names begin with and its events say; null: "alignment" and its path
        durations   tensor to draw in place of what is reported, for a stack in which no block reports;
                    as an encoder gave it, no speed applied
        most_s      seconds of an utterance that are kept and drawn; the picture says if that is not all
        most_files  of this name that may be in the folder; what comes then is not drawn
        """

        path: str
        name: str | None = None
        durations: str | None = None
        format: Format = "png"
        most_s: float = 60.0
        most_files: int = 200

    durations: str | None
    sheet: Sheet

    @classmethod
    def wire(cls, options: Options, site: Site) -> "AlignmentPlot":
        flow = cls.flow(site)
        names = () if options.durations is None else (options.durations,)
        for name in names:
            port = cls.find(name, site.tensors, where=f"{site.path}.durations")
            if len(port.axes) != 1:
                raise WiringError(f"got {port}, want [phonemes]", where=f"{site.path}.durations")
        sheet = Sheet.of(options, site, kind="alignment_plot", name="alignment")
        in_frames = Place(sheet.place.name, sheet.place.title, sheet.place.frame_rate, sheet.place.frame_rate)
        sheet = Sheet(sheet.kind, in_frames, sheet.files, sheet.form, in_frames.most(options.most_s))
        return cls(sheet.place, cls.told(site, names), flow, flow, Timing(), options.durations, sheet)

    def open(self, tensors: Tensors, source: Stream | None) -> Stream:
        assert source is not None
        drawing = _Drawing(self.sheet, number_of(tensors))
        if self.durations is not None:
            drawing.hear_durations(tensors[self.durations])
            return PassingStream(source, drawing)
        return PassingStream(_Overheard(source, drawing), drawing)


class _Overheard:
    """A source to whose events a drawing listens while it is read."""

    def __init__(self, source: Stream, drawing: "_Drawing") -> None:
        self._source = source
        self._drawing = drawing

    def read(self, steps: int) -> Tensors:
        with listening(self._drawing.hear):
            return self._source.read(steps)

    def close(self) -> None:
        self._source.close()


class _Drawing:
    """The picture of one utterance."""

    def __init__(self, sheet: Sheet, utterance: int) -> None:
        self._sheet = sheet
        self._utterance = utterance
        self._frames = 0
        self._positions: list[tuple[int, Array]] = []
        self._weights: list[tuple[int, Array]] = []

    def hear(self, event: Event) -> None:
        """Keep an alignment, up to the bound."""
        if event.kind != ALIGNMENT:
            return
        self._keep(event.step, event.values["positions"], event.values.get("weights"))

    def hear_durations(self, durations: Array) -> None:
        """Take durations for an alignment."""
        known = np.nan_to_num(durations.astype(np.float64), nan=0, posinf=0, neginf=0)
        ends = np.cumsum(np.maximum(np.rint(known), 0)).astype(np.int64)
        self._frames = int(ends[-1]) if len(ends) else 0
        shown = np.arange(min(self._frames, self._sheet.most_steps))
        self._positions = [(0, np.searchsorted(ends, shown, side="right"))]

    def _keep(self, start: int, positions: Array, weights: Array | None) -> None:
        self._frames = max(self._frames, start + len(positions))
        left = self._sheet.most_steps - start
        if left <= 0 or not len(positions):
            return
        self._positions.append((start, positions[:left].copy()))
        if weights is not None:
            self._weights.append((start, weights[:left].copy()))

    def look(self, chunk: Tensors, start: int) -> None:
        pass

    def end(self, steps: int) -> None:
        if not steps:
            return
        if not self._frames:
            text = 'no block above reports an alignment; name "durations", or put it where one does'
            self._sheet.report("empty", 0, text)
            return
        positions = np.full(min(self._frames, self._sheet.most_steps), -1, np.int64)
        for start, some in self._positions:
            positions[start : start + len(some)] = some
        symbols = int(positions.max(initial=-1)) + 1
        weights = self._joined(len(positions))
        if weights is not None:
            symbols = weights.shape[1]
        rate = self._sheet.rate

        def draw(axes: Any) -> None:
            if weights is None:
                draw_boxes(axes, positions, begin_s=0.0, rate=rate, base=0)
            else:
                extent = (0.0, len(positions) / rate, 0.0, float(symbols))
                draw_image(axes, weights.T, extent, low=0.0)
            axes.set(ylim=(0, max(symbols, 1)), ylabel="symbol")

        what = "durations" if weights is None else "attention"
        high_in = min(max(1.5 + 0.06 * symbols, 2.5), 6.0)
        self._sheet.write(draw, what=what, utterance=self._utterance, steps=self._frames, high_in=high_in)
        self.close()

    def close(self) -> None:
        self._positions, self._weights = [], []

    def _joined(self, frames: int) -> Array | None:
        """Return the attention as float32 [frames, symbols], or None if there was none."""
        if not self._weights:
            return None
        joined = np.zeros((frames, max(some.shape[1] for _, some in self._weights)), np.float32)
        for start, some in self._weights:
            joined[start : start + len(some), : some.shape[1]] = some
        return joined
