"""Make samples louder or softer by a fixed gain."""

from dataclasses import dataclass, field

import numpy as np

from voxstack.core.blocks import Stream, Timing
from voxstack.core.errors import ConfigError
from voxstack.core.ports import Port, Ports, Tensors
from voxstack.core.site import Site
from voxstack.stages.audio.sampled import SAMPLES, samples_above

__all__ = ["MOST_GAIN_DB", "Gain"]

MOST_GAIN_DB = 60.0


@dataclass(frozen=True)
class Gain:
    """Every sample times one number; what goes over full scale stays so, for a Limiter behind it.

    In:       samples  float32 [n]
    Out:      samples  float32 [n]
    Timing:   1 → 1, no context
    Raises:   ConfigError if gain_db is out of range, WiringError without a sample rate
    """

    @dataclass(frozen=True)
    class Options:
        """gain_db in dB: -6 is half as loud, 6 twice."""

        gain_db: float

    gain: np.float32
    gives: Ports
    consumes: Ports | None = field(default_factory=lambda: SAMPLES)
    takes: Ports = field(default_factory=dict[str, Port])
    timing: Timing = field(default_factory=Timing)

    @classmethod
    def wire(cls, options: Options, site: Site) -> "Gain":
        if not -MOST_GAIN_DB <= options.gain_db <= MOST_GAIN_DB:
            raise ConfigError(
                f"got {options.gain_db:g} dB, want {-MOST_GAIN_DB:g} to {MOST_GAIN_DB:g}",
                where=f"{site.path}.gain_db",
            )
        port, _ = samples_above(site)
        return cls(np.float32(10 ** (options.gain_db / 20)), {"samples": port})

    def open(self, tensors: Tensors, source: Stream | None) -> Stream:
        assert source is not None
        return _GainStream(source, self.gain)


class _GainStream:
    def __init__(self, source: Stream, gain: np.float32) -> None:
        self._source = source
        self._gain = gain

    def read(self, steps: int) -> Tensors:
        return {"samples": self._source.read(steps)["samples"] * self._gain}

    def close(self) -> None:
        self._source.close()
