"""Draw what a comparison shows of a voice: waveform, mel, attention or durations, and the chunks.

The drawings are SVG texts to stand in an HTML page: they carry everything they show, and their ink is the
colour of the page's text, so that they can be read on a light and on a dark page.
"""

import io
import re
import warnings
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import numpy as np

from voxstack.cli.compare_voice import Spoken, Utterance
from voxstack.core.errors import RequestError
from voxstack.core.ports import Array, MelFormat
from voxstack.stages.audio.diagnostics.drawing import BLUE, ORANGE, draw_boxes, draw_image

__all__ = ["Plots", "log_mel", "mel_range", "require_matplotlib"]

INK = "#767676"
RED = "#e0352b"
WIDTH_IN = 9.0
LEFT_IN, RIGHT_IN = 0.75, 0.15
COLUMNS = 900
MOST_NAMED_SYMBOLS = 70
MEL_BANDS, MEL_RATE, MEL_WINDOW_S = 80, 100, 0.04
DARKEST_DB = 80.0
MEL_PERCENTILES = 1.0, 99.5
"""Values beyond these are shown as these: a few outliers must not take the colours of all the rest."""


class Plots:
    """Draw voices on one time axis.

    In:       until_s  seconds that every time axis shows
              spoken   the voices; where their mels are of one format, their colours mean the same
    Raises:   RequestError if matplotlib is not installed
    """

    def __init__(self, until_s: float, spoken: Sequence[Spoken] = ()) -> None:
        self._mpl = require_matplotlib()
        self._until_s = until_s or 1.0
        self._number = 0
        self._spoken = spoken
        self._ranges: dict[MelFormat, tuple[float, float]] = {}

    def waveform(self, spoken: Spoken) -> str:
        """Return the waveform as an envelope."""
        samples = spoken.audio.samples
        size = max(1, -(-len(samples) // COLUMNS))
        padded = np.pad(samples, (0, -len(samples) % size)).reshape(-1, size)
        at_s = (np.arange(len(padded)) + 0.5) * size / spoken.audio.sample_rate

        def draw(axes: Any) -> None:
            axes.fill_between(at_s, padded.min(axis=1), padded.max(axis=1), color=BLUE, linewidth=0.5)
            axes.set(ylim=(-1, 1), yticks=(-1, 0, 1), ylabel="amplitude")
            self._mark(axes, spoken)

        label = f"Waveform of {spoken.voice}: {spoken.audio.duration_s:.1f} seconds of audio"
        return self._drawn(label, 1.1, draw)

    def mel(self, spoken: Spoken) -> str:
        """Return the mel that flowed to the vocoder, or one computed from the audio."""
        flowed = [utterance for utterance in spoken.utterances if utterance.mel is not None]

        def draw(axes: Any) -> None:
            if flowed:
                self._mels(axes, flowed, self._range(spoken))
            elif len(spoken.audio.samples):
                mel = log_mel(spoken.audio.samples, spoken.audio.sample_rate)
                draw_image(axes, mel.T, (0, spoken.audio.duration_s, 0, MEL_BANDS))
                axes.set(ylim=(0, MEL_BANDS))
            axes.set(ylabel="mel band")
            self._mark(axes, spoken)

        source = "as it flowed to the vocoder" if flowed else "computed from the audio"
        return self._drawn(f"Mel-spectrogram of {spoken.voice}, {source}", 1.6, draw)

    def alignment(self, spoken: Spoken) -> str | None:
        """Return attention weights, or durations as boxes, over time; None if nothing was reported."""
        rate = spoken.frame_rate
        if rate is None or not any(len(utterance.positions) for utterance in spoken.utterances):
            return None
        symbols = [_symbols(utterance) for utterance in spoken.utterances]
        total = sum(map(len, symbols))

        def draw(axes: Any) -> None:
            base = 0
            for utterance, names in zip(spoken.utterances, symbols, strict=True):
                begin, size = utterance.start_s, len(utterance.positions) / rate
                if utterance.weights is not None:
                    draw_image(
                        axes, utterance.weights.T, (begin, begin + size, base, base + len(names)), low=0.0
                    )
                else:
                    draw_boxes(axes, utterance.positions, begin_s=begin, rate=rate, base=base)
                base += len(names)
            axes.set(ylim=(0, max(total, 1)), ylabel="symbol")
            if total <= MOST_NAMED_SYMBOLS:
                named = [name for names in symbols for name in names]
                axes.set_yticks(np.arange(total) + 0.5, named, fontsize=7, parse_math=False)
            self._mark(axes, spoken, named=True)

        what = "Attention" if spoken.is_attending else "Durations"
        label = f"{what} of {spoken.voice}: which of {total} symbols is spoken when"
        return self._drawn(label, min(max(0.12 * total, 1.6), 3.6), draw)

    def chunks(self, spoken: Spoken) -> str:
        """Return when audio was delivered, against when a listener has heard it."""
        at = np.array([arrival.at_ms for arrival in spoken.arrivals]) / 1000
        brought = np.array([arrival.audio_ms for arrival in spoken.arrivals]) / 1000
        there = np.cumsum(brought)

        def draw(axes: Any) -> None:
            axes.set(ylabel="audio, s")
            axes.set_xlabel("seconds after the request")
            if not len(at):
                return
            heard_at, heard = _heard(at, brought)
            axes.step([0, *at, heard_at[-1]], [0, *there, there[-1]], where="post", color=BLUE)
            axes.plot(heard_at, heard, color=ORANGE, linestyle="--")
            axes.plot(at, there, "o", color=BLUE, markersize=3)
            axes.text(0.99, 0.08, "- - heard   — delivered", transform=axes.transAxes, ha="right", fontsize=8)
            axes.set(xlim=(0, None), ylim=(0, there[-1] * 1.05))

        label = f"{len(at)} chunks of {spoken.voice}: audio delivered and audio heard over time"
        return self._drawn(label, 1.6, draw, is_time=False)

    def _range(self, spoken: Spoken) -> tuple[float, float]:
        """Return the mel values between which the colours of this voice, and all of its format, lie."""
        kind = spoken.mel_format
        if kind is None:
            return mel_range([spoken])
        if kind not in self._ranges:
            alike = [one for one in self._spoken if one.mel_format == kind]
            self._ranges[kind] = mel_range(alike or [spoken])
        return self._ranges[kind]

    def _mels(self, axes: Any, utterances: Sequence[Utterance], colour_range: tuple[float, float]) -> None:
        mels = [utterance.mel for utterance in utterances if utterance.mel is not None]
        low, high = colour_range
        for utterance, mel in zip(utterances, mels, strict=True):
            end = utterance.start_s + utterance.duration_s
            draw_image(axes, mel.T, (utterance.start_s, end, 0, mel.shape[1]), low=low, high=high)
        axes.set(ylim=(0, mels[0].shape[1]))

    def _mark(self, axes: Any, spoken: Spoken, *, named: bool = False) -> None:
        """Draw a red line where a block noticed something."""
        axes.set(xlim=(0, self._until_s))
        _, top = axes.get_ylim()
        for number, notice in enumerate(spoken.notices, 1):
            axes.axvline(notice.at_s, color=RED, linewidth=1.2)
            label = f" {number} {notice.event.kind}" if named else f" {number}"
            is_late = notice.at_s > 0.7 * self._until_s
            axes.text(
                notice.at_s,
                top,
                f"{label} ",
                color=RED,
                fontsize=8,
                ha="right" if is_late else "left",
                va="top",
                parse_math=False,
            )

    def _drawn(
        self, label: str, height_in: float, draw: Callable[[Any], None], *, is_time: bool = True
    ) -> str:
        from matplotlib.figure import Figure

        foot_in, head_in = 0.45, 0.12
        whole_in = height_in + foot_in + head_in
        style = {
            "svg.fonttype": "none",  # the viewer's own fonts: small, sharp, and they know every script
            "svg.hashsalt": "voxstack",
            "font.family": "sans-serif",
            "font.size": 9,
            "text.color": INK,
            "axes.edgecolor": INK,
            "axes.labelcolor": INK,
            "xtick.color": INK,
            "ytick.color": INK,
        }
        with self._mpl.rc_context(style), warnings.catch_warnings():
            # Sizes are guessed for glyphs that matplotlib's own font lacks; the viewer's fonts have them.
            warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
            figure = Figure(figsize=(WIDTH_IN, whole_in))
            axes = figure.add_axes(
                (
                    LEFT_IN / WIDTH_IN,
                    foot_in / whole_in,
                    1 - (LEFT_IN + RIGHT_IN) / WIDTH_IN,
                    height_in / whole_in,
                )
            )
            axes.set_facecolor("none")
            axes.spines[["top", "right"]].set_visible(False)
            if is_time:
                axes.set_xlabel("seconds of audio")
            draw(axes)
            drawn = io.StringIO()
            figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        self._number += 1
        return _for_a_page(drawn.getvalue(), label, self._number)


def require_matplotlib() -> Any:
    """Return matplotlib, which no other command needs, or say how to get it."""
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise RequestError(
            'matplotlib, which draws the report, is not installed; pip install "voxstack[report]"',
            where="compare",
        ) from error
    return mpl


def log_mel(samples: Array, sample_rate: int) -> Array:
    """Return a mel of audio for the eye, float32 [frames, 80] in dB below its loudest, not less than -80."""
    hop = sample_rate // MEL_RATE
    size = 1 << (int(sample_rate * MEL_WINDOW_S) - 1).bit_length()
    padded = np.pad(samples, (size // 2, size))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[: len(samples) + 1 : hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(size).astype(np.float32))) ** 2
    top = 2595 * np.log10(1 + sample_rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, MEL_BANDS + 2) / 2595) - 1)
    hz = np.fft.rfftfreq(size, 1 / sample_rate)
    rising = (hz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - hz) / (edges[2:] - edges[1:-1])[:, None]
    bands = power @ np.maximum(0, np.minimum(rising, falling)).T
    db = 10 * np.log10(np.maximum(bands, 1e-12) / max(float(bands.max(initial=0)), 1e-12))
    return np.maximum(db, -DARKEST_DB).astype(np.float32)


def mel_range(spoken: Sequence[Spoken]) -> tuple[float, float]:
    """Return the mel values that the darkest and the brightest colour stand for."""
    values = [
        utterance.mel.ravel() for one in spoken for utterance in one.utterances if utterance.mel is not None
    ]
    joined = np.concatenate([np.zeros(0, np.float32), *values])
    if not joined.size:
        return 0.0, 1.0
    low, high = np.percentile(joined, MEL_PERCENTILES)
    return float(low), float(high)


def _symbols(utterance: Utterance) -> tuple[str, ...]:
    """Return the symbols of an utterance, numbered where what was aligned are not its phonemes."""
    size = int(utterance.positions.max(initial=-1)) + 1
    if utterance.weights is not None:
        size = utterance.weights.shape[1]
    if size <= len(utterance.symbols):
        return tuple(symbol if symbol.strip() else "␣" for symbol in utterance.symbols)
    return tuple(map(str, range(size)))


def _heard(at: Array, brought: Array) -> tuple[list[float], list[float]]:
    """Return the corners of how much a listener has heard, who plays each chunk as soon as can be."""
    times, heard = [float(at[0])], [0.0]
    for arrived, length in zip(at, brought, strict=True):
        begin = max(times[-1], float(arrived))  # later than the last one's end: playback ran dry
        times += [begin, begin + float(length)]
        heard += [heard[-1], heard[-1] + float(length)]
    return times, heard


def _for_a_page(drawn: str, label: str, number: int) -> str:
    """Make a drawing a part of an HTML page: a name for those who cannot see it, ids of its own."""
    drawn = drawn[drawn.index("<svg") :]
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn, flags=re.DOTALL)
    drawn = re.sub(f"(fill|stroke): {INK}", r"\1: currentColor", drawn)
    drawn = re.sub(r'(\bid="|"#|url\(#)', rf"\1plot{number}-", drawn)
    return drawn.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)
