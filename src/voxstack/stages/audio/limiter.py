"""Make a voice as loud as it should be, by a fixed gain, and keep its peaks under a ceiling."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from voxstack.core.blocks import Stream, Timing
from voxstack.core.errors import ConfigError
from voxstack.core.nets import Ragged
from voxstack.core.ports import Ports, Tensors
from voxstack.core.shapes import Window, timing
from voxstack.core.site import Site
from voxstack.core.streams import WindowStream
from voxstack.stages.audio.sampled import SAMPLES, samples_above

__all__ = ["Limiter"]

BLOCK = 16
"""Samples that share one peak measurement; the grid starts at the utterance's first sample."""

MOST_GAIN_DB = 60.0
LEAST_CEILING_DB = -60.0


@dataclass(frozen=True)
class Limiter:
    """A fixed gain, then a look-ahead limiter without memory, so that chunking cannot change it.

    Each block of 16 samples gets the gain that brings its peak under the ceiling; the gain curve is
    the running minimum of these over ± attack, smoothed by a running mean as long: it is never above
    what a block needs, and never jumps.

    In:       samples  float32 [n]
    Out:      samples  float32 [n], |samples| ≤ 10^(ceiling_db / 20)
    Timing:   1 → 1, context twice the attack each side
    Raises:   ConfigError if gain_db, ceiling_db or attack_ms is out of range, WiringError without a
              sample rate
    """

    @dataclass(frozen=True)
    class Options:
        """gain_db in dB, -60 to 60; ceiling_db in dB, -60 to 0, which is full scale; attack_ms up to 100."""

        gain_db: float = 0.0
        ceiling_db: float = -0.2
        attack_ms: float = 10.0

    gain: float
    ceiling: float
    reach: int
    ragged: Ragged
    takes: Ports
    consumes: Ports | None
    gives: Ports
    timing: Timing

    @classmethod
    def wire(cls, options: Options, site: Site) -> "Limiter":
        if not -MOST_GAIN_DB <= options.gain_db <= MOST_GAIN_DB:
            raise ConfigError(
                f"got {options.gain_db:g} dB, want {-MOST_GAIN_DB:g} to {MOST_GAIN_DB:g}",
                where=f"{site.path}.gain_db",
            )
        if not LEAST_CEILING_DB <= options.ceiling_db <= 0:
            raise ConfigError(
                f"got {options.ceiling_db:g} dB, want {LEAST_CEILING_DB:g} to 0: "
                "nothing is louder than full scale",
                where=f"{site.path}.ceiling_db",
            )
        if not 0 < options.attack_ms <= 100:
            raise ConfigError(
                f"got {options.attack_ms} ms, want more than 0, at most 100", where=f"{site.path}.attack_ms"
            )
        port, rate = samples_above(site)
        reach = max(1, round(options.attack_ms / 1000 * rate / BLOCK))
        context = (2 * reach + 1) * BLOCK
        ragged = Ragged("samples", context=(context, context))
        return cls(
            gain=10 ** (options.gain_db / 20),
            ceiling=10 ** (options.ceiling_db / 20),
            reach=reach,
            ragged=ragged,
            takes={},
            consumes=SAMPLES,
            gives={"samples": port},
            timing=timing(ragged),
        )

    def open(self, tensors: Tensors, source: Stream | None) -> Stream:
        assert source is not None
        return WindowStream(source, self.ragged, self.gives, self._limit)

    def _limit(self, inputs: Tensors, window: Window) -> Tensors:
        samples = inputs["samples"] * np.float32(self.gain)
        if samples.size and np.abs(samples).max() > self.ceiling:
            samples = samples * self._curve(samples, window.lo)
            samples = np.clip(samples, -self.ceiling, self.ceiling)  # takes rounding off, no more
        return {"samples": samples}

    def _curve(self, samples: npt.NDArray[np.float32], lo: int) -> npt.NDArray[np.float32]:
        """Return the gain for each sample; `lo` is the position of the first in the utterance."""
        before = lo % BLOCK
        after = -(before + samples.size) % BLOCK
        peaks = np.abs(np.pad(samples, (before, after))).reshape(-1, BLOCK).max(axis=1)
        needed = np.minimum(1.0, self.ceiling / np.maximum(peaks, self.ceiling)).astype(np.float64)
        # Knots stand between blocks: each is the mean of minima that all cover both its neighbours.
        edges = np.pad(needed, 2 * self.reach - 1, constant_values=1.0)
        minima = sliding_window_view(edges, 2 * self.reach).min(axis=1)
        knots = sliding_window_view(minima, 2 * self.reach - 1).mean(axis=1)
        ramp = np.arange(BLOCK) / BLOCK
        curve = knots[:-1, None] + (knots[1:] - knots[:-1])[:, None] * ramp
        return curve.reshape(-1)[before : before + samples.size].astype(np.float32)
