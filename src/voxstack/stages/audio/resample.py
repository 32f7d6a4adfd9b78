"""Change how many samples a second there are, by the soxr library."""

from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Literal

from voxstack.core.blocks import Stream, Timing
from voxstack.core.errors import ConfigError
from voxstack.core.ports import Port, Ports, Tensors
from voxstack.core.site import Site
from voxstack.stages.audio.grid import GridStream, Process, Samples, delay_of
from voxstack.stages.audio.sampled import SAMPLES, samples_above

__all__ = ["HALF", "Resample", "soxr_process"]

BLOCK = 256
"""Input samples that soxr is given at a time."""

HALF = Fraction(1, 2)
LEAST, MOST = 1_000, 384_000
QUALITIES = {"quick": "QQ", "low": "LQ", "medium": "MQ", "high": "HQ", "highest": "VHQ"}


def soxr_process(given: Fraction, wanted: Fraction, quality: str = "high") -> Process:
    """Return one utterance's resampler from `given` to `wanted` samples per second."""
    import soxr  # pyright: ignore[reportMissingTypeStubs]

    stream: Any = soxr.ResampleStream(
        float(given), float(wanted), 1, dtype="float32", quality=QUALITIES[quality]
    )

    def process(samples: Samples, *, last: bool) -> Samples:
        resampled: Samples = stream.resample_chunk(samples, last=last)
        return resampled

    return process


@dataclass(frozen=True)
class Resample:
    """The same sound at another sample rate.

    The better the quality, the more of the highest sounds is kept, and the further it looks ahead.

    In:       samples  float32 [n]
    Out:      samples  float32 [m], m = n · sample_rate / rate of the source, rounded (halves up)
    Timing:   1 → sample_rate / rate of the source, looks ahead as far as soxr does (measured when wired)
    Source:   soxr.resample of the whole signal, to which it is equal
    Raises:   ConfigError if sample_rate is out of range, WiringError without a sample rate
    """

    @dataclass(frozen=True)
    class Options:
        """sample_rate in Hz, quality of soxr's filter."""

        sample_rate: int
        quality: Literal["quick", "low", "medium", "high", "highest"] = "high"

    rate: Fraction
    sample_rate: Fraction
    quality: str
    delay: int
    gives: Ports
    timing: Timing
    consumes: Ports | None = field(default_factory=lambda: SAMPLES)
    takes: Ports = field(default_factory=dict[str, Port])

    @classmethod
    def wire(cls, options: Options, site: Site) -> "Resample":
        if not LEAST <= options.sample_rate <= MOST:
            raise ConfigError(
                f"got {options.sample_rate} Hz, want {LEAST} to {MOST}", where=f"{site.path}.sample_rate"
            )
        port, rate = samples_above(site)
        wanted = Fraction(options.sample_rate)
        gives = {"samples": replace(port, rate=wanted)}
        steps = wanted / rate
        if steps == 1:
            return cls(rate, wanted, options.quality, 0, gives, Timing())
        # What soxr holds back grows with the ratio; some of its inner buffers are longer than its filter.
        trial = BLOCK * (512 + 32 * int(max(steps, 1 / steps)))
        delay = delay_of(soxr_process(rate, wanted, options.quality), block=BLOCK, steps=steps, trial=trial)
        ahead = delay + BLOCK
        timing = Timing(steps, left=delay, right=delay, lookahead=ahead, rounding=HALF)
        return cls(rate, wanted, options.quality, delay, gives, timing)

    def open(self, tensors: Tensors, source: Stream | None) -> Stream:
        assert source is not None
        if self.rate == self.sample_rate:
            return source
        process = soxr_process(self.rate, self.sample_rate, self.quality)
        return GridStream(source, process, block=BLOCK, steps=self.timing.steps, delay=self.delay)
