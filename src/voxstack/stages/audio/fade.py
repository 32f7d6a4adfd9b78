"""Let each utterance rise from silence and fall into it."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from voxstack.core.blocks import Stream, Timing
from voxstack.core.errors import Cancelled, ConfigError
from voxstack.core.ports import Array, Port, Ports, Tensors
from voxstack.core.site import Site
from voxstack.stages.audio.sampled import SAMPLES, samples_above

__all__ = ["Fade"]

MOST_MS = 10_000.0


@dataclass(frozen=True)
class Fade:
    """A ramp over an utterance's first samples, and one over its last; both where it is short.

    In:       samples  float32 [n]
    Out:      samples  float32 [n]
    Timing:   1 → 1, looks ahead by out_ms: whether a sample is among the last ones shows only then
    Raises:   ConfigError if a length is out of range, WiringError without a sample rate
    """

    @dataclass(frozen=True)
    class Options:
        """in_ms and out_ms are how long the ramps last, in ms.

        shape   linear, or cosine, which has no corners
        """

        in_ms: float = 5.0
        out_ms: float = 5.0
        shape: Literal["linear", "cosine"] = "cosine"

    rise: Array
    fall: Array
    gives: Ports
    consumes: Ports | None = field(default_factory=lambda: SAMPLES)
    takes: Ports = field(default_factory=dict[str, Port])

    @classmethod
    def wire(cls, options: Options, site: Site) -> "Fade":
        for key, value in (("in_ms", options.in_ms), ("out_ms", options.out_ms)):
            if not 0 <= value <= MOST_MS:
                raise ConfigError(f"got {value:g} ms, want 0 to {MOST_MS:g}", where=f"{site.path}.{key}")
        port, rate = samples_above(site)
        rise, fall = (_ramp(round(ms / 1000 * rate), options.shape) for ms in (options.in_ms, options.out_ms))
        return cls(rise, fall[::-1], {"samples": port})

    @property
    def timing(self) -> Timing:
        ahead = len(self.fall)
        return Timing(right=ahead, lookahead=ahead)

    def open(self, tensors: Tensors, source: Stream | None) -> Stream:
        assert source is not None
        return _FadingStream(source, self.rise, self.fall)


def _ramp(size: int, shape: str) -> Array:
    """Return a rise from just above 0 to just below 1, so that two that meet are one at each sample."""
    places = (np.arange(size) + 0.5) / max(size, 1)
    return (places if shape == "linear" else (1 - np.cos(np.pi * places)) / 2).astype(np.float32)


class _FadingStream:
    """A stream that holds back as many samples as the fall has."""

    def __init__(self, source: Stream, rise: Array, fall: Array) -> None:
        self._source: Stream | None = source
        self._rise = rise
        self._fall = fall
        self._held = np.zeros(0, np.float32)
        self._position = 0
        self._is_over = False

    def read(self, steps: int) -> Tensors:
        if self._source is None:
            raise Cancelled("read after close")
        wanted = steps + len(self._fall) - len(self._held)
        if wanted > 0 and not self._is_over:
            chunk = self._source.read(wanted)["samples"]
            self._is_over = len(chunk) < wanted
            self._held = np.concatenate([self._held, chunk])
        ready = self._held[:steps].copy()
        self._held = self._held[steps:]
        self._multiply(ready, self._rise[self._position : self._position + len(ready)], at=0)
        if self._is_over:
            # Of the fall's steps, the last belongs to the last sample there is.
            left = len(ready) + len(self._held)
            at = max(left - len(self._fall), 0)
            begin = max(len(self._fall) - left, 0)
            self._multiply(ready, self._fall[begin : begin + max(len(ready) - at, 0)], at=at)
        self._position += len(ready)
        return {"samples": ready}

    def close(self) -> None:
        if self._source is not None:
            self._source.close()
        self._source = None
        self._held = np.zeros(0, np.float32)

    @staticmethod
    def _multiply(samples: Array, ramp: Array, *, at: int) -> None:
        samples[at : at + len(ramp)] *= ramp
