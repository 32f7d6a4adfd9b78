"""Let a voice sound as through a telephone: nothing below and above the band that a line carries."""

from dataclasses import dataclass

import numpy as np

from voxstack.core.errors import ConfigError
from voxstack.core.site import Site
from voxstack.stages.audio.biquads import LEAST_HZ, Filter, require_scipy
from voxstack.stages.audio.sampled import samples_above

__all__ = ["TelephoneBand"]

ORDER = 4
"""Of each edge: 24 dB an octave."""


@dataclass(frozen=True)
class TelephoneBand(Filter):
    """A Butterworth band pass, 3 dB down at its edges, 24 dB an octave beyond them.

    The sample rate stays; for a line of 8 kHz put a Resample behind it.

    In:       samples  float32 [n]
    Out:      samples  float32 [n]
    Timing:   1 → 1, left as far as the filter remembers (to -120 dB), looks not ahead
    Source:   the band of ITU-T G.712; its edges here are a Butterworth filter's, not the standard's mask
    Raises:   ConfigError if the band does not fit the sample rate, or scipy is not installed; WiringError
              without a sample rate
    """

    @dataclass(frozen=True)
    class Options:
        """low_hz and high_hz are the edges; 50 and 7000 are those of a wide-band call."""

        low_hz: float = 300.0
        high_hz: float = 3400.0

    @classmethod
    def wire(cls, options: Options, site: Site) -> "TelephoneBand":
        signal = require_scipy(site.path)
        port, rate = samples_above(site)
        nyquist = float(rate) / 2
        low, high = options.low_hz, options.high_hz
        if not LEAST_HZ <= low <= high - LEAST_HZ or high >= nyquist:
            raise ConfigError(
                f"got {low:g} to {high:g} Hz, want edges {LEAST_HZ:g} Hz apart or more, from {LEAST_HZ:g} Hz "
                f"to below {nyquist:g}, half the sample rate",
                where=site.path,
            )
        sections = signal.butter(ORDER, [low, high], "bandpass", fs=float(rate), output="sos")
        return cls(np.asarray(sections), {"samples": port})
