"""Speak faster or slower, at the same pitch."""

from dataclasses import dataclass, field
from fractions import Fraction

from voxstack.core.blocks import Stream, Timing
from voxstack.core.errors import ConfigError
from voxstack.core.ports import Port, Ports, Tensors
from voxstack.core.site import Site
from voxstack.stages.audio.grid import GridStream
from voxstack.stages.audio.resample import HALF
from voxstack.stages.audio.sampled import SAMPLES, samples_above
from voxstack.stages.audio.wsola import Segments, Wsola

__all__ = ["BLOCK", "Tempo"]

BLOCK = 256
"""Input samples that are looked at together."""

LEAST, MOST = 0.25, 4.0


@dataclass(frozen=True)
class Tempo:
    """The same voice at another speed: pitch and timbre stay.

    For voices whose own net cannot speak at another speed; one that can does it better.

    In:       samples  float32 [n]
    Out:      samples  float32 [m], m = n / rate, rounded (halves up)
    Timing:   1 → 1 / rate, looks ahead 32 ms, and 12 ms · rate, and a block of 256 samples; where a
              segment is taken follows from all before it
    Source:   waveform-similarity overlap-add, see voxstack.stages.audio.wsola
    Raises:   ConfigError if rate is out of range, WiringError without a sample rate
    """

    @dataclass(frozen=True)
    class Options:
        """`rate` is how much faster: 1.2 takes 1/1.2 of the time."""

        rate: float

    segments: Segments
    gives: Ports
    timing: Timing
    consumes: Ports | None = field(default_factory=lambda: SAMPLES)
    takes: Ports = field(default_factory=dict[str, Port])

    @classmethod
    def wire(cls, options: Options, site: Site) -> "Tempo":
        if not LEAST <= options.rate <= MOST:
            raise ConfigError(f"got {options.rate}, want {LEAST} to {MOST}", where=f"{site.path}.rate")
        port, sample_rate = samples_above(site)
        rate = Fraction(str(options.rate))  # as it is written: 1.2 is 6/5
        segments = Segments.of(rate, sample_rate)
        gives = {"samples": port}
        if rate == 1:
            return cls(segments, gives, Timing())
        reach = segments.ahead
        timing = Timing(1 / rate, left=reach, right=reach, lookahead=reach + BLOCK, rounding=HALF)
        return cls(segments, gives, timing)

    def open(self, tensors: Tensors, source: Stream | None) -> Stream:
        assert source is not None
        if self.segments.rate == 1:
            return source
        stretch = Wsola(self.segments)
        delay = self.segments.ahead
        return GridStream(source, stretch.feed, block=BLOCK, steps=self.timing.steps, delay=delay)
