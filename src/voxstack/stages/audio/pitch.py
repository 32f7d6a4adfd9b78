"""Speak higher or lower, at the same speed."""

import math
from dataclasses import dataclass, field
from fractions import Fraction

from voxstack.core.blocks import Stream, Timing
from voxstack.core.errors import ConfigError
from voxstack.core.ports import Port, Ports, Tensors
from voxstack.core.site import Site
from voxstack.stages.audio.grid import GridStream, Process, Samples, delay_of
from voxstack.stages.audio.resample import soxr_process
from voxstack.stages.audio.sampled import SAMPLES, samples_above
from voxstack.stages.audio.tempo import BLOCK
from voxstack.stages.audio.wsola import Segments, Wsola

__all__ = ["Pitch"]

ONE = Fraction(1)
MOST = 12.0
FINEST = 10_000
"""Greatest denominator of the ratio of two pitches: less than a thousandth of a semitone off."""

SPARE = 64
"""Stretched samples behind the end, so that rounding twice cannot lose the last one."""


@dataclass(frozen=True)
class Pitch:
    """The same speech, higher or lower: stretched in time, then resampled back to its length.

    The timbre moves with the pitch: some semitones make a smaller or a larger speaker.

    In:       samples  float32 [n]
    Out:      samples  float32 [n]
    Timing:   1 → 1, looks ahead some 100 ms (of which the resampler's part is measured when wired)
    Source:   as Tempo, then as Resample
    Raises:   ConfigError if semitones is out of range, WiringError without a sample rate
    """

    @dataclass(frozen=True)
    class Options:
        """`semitones` is how much higher: 12 is an octave, less than 0 is lower."""

        semitones: float

    ratio: Fraction
    segments: Segments
    delay: int
    gives: Ports
    timing: Timing
    consumes: Ports | None = field(default_factory=lambda: SAMPLES)
    takes: Ports = field(default_factory=dict[str, Port])

    @classmethod
    def wire(cls, options: Options, site: Site) -> "Pitch":
        if not -MOST <= options.semitones <= MOST:
            raise ConfigError(
                f"got {options.semitones} semitones, want {-MOST:g} to {MOST:g}",
                where=f"{site.path}.semitones",
            )
        port, sample_rate = samples_above(site)
        ratio = Fraction(2 ** (options.semitones / 12)).limit_denominator(FINEST)
        segments = Segments.of(1 / ratio, sample_rate)
        gives = {"samples": port}
        if ratio == 1:
            return cls(ratio, segments, 0, gives, Timing())
        # What stretching holds back depends on what is said, so the most is taken; the rest is measured.
        behind = delay_of(soxr_process(ratio, ONE), block=segments.hop, steps=1 / ratio, trial=BLOCK * 512)
        delay = segments.ahead + math.ceil(behind / ratio)
        timing = Timing(left=delay, right=delay, lookahead=delay + BLOCK)
        return cls(ratio, segments, delay, gives, timing)

    def open(self, tensors: Tensors, source: Stream | None) -> Stream:
        assert source is not None
        if self.ratio == 1:
            return source
        process = shifting(self.segments)
        return GridStream(source, process, block=BLOCK, steps=ONE, delay=self.delay)


def shifting(segments: Segments) -> Process:
    """Return what shifts one utterance by 1 / the rate of its segments."""
    stretch = Wsola(segments, spare=SPARE)
    back = soxr_process(1 / segments.rate, ONE)
    arrived = given = 0

    def process(samples: Samples, *, last: bool) -> Samples:
        nonlocal arrived, given
        arrived += samples.size
        shifted = back(stretch.feed(samples, last=last), last=last)
        if last:
            shifted = shifted[: arrived - given]
        given += shifted.size
        return shifted

    return process
