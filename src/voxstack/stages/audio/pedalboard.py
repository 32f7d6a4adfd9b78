"""Send a voice through effects of the pedalboard library: reverb, chorus, compressor, filters and more."""

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from voxstack.core.blocks import Stream, Timing
from voxstack.core.errors import ConfigError, NetError
from voxstack.core.ports import Port, Ports, Tensors
from voxstack.core.site import Site
from voxstack.stages.audio.grid import GridStream, Samples, delay_of
from voxstack.stages.audio.pedalboard_plugins import chain, check_plugins, library
from voxstack.stages.audio.sampled import SAMPLES, samples_above

__all__ = ["Pedalboard"]

BLOCK = 256
"""Samples that the plugins are given at a time."""

TRIAL = BLOCK * 128
MOST_TAIL_MS = 30_000.0


@dataclass(frozen=True)
class Pedalboard:
    """A chain of pedalboard's own plugins; what they hold back is waited for, so nothing is late.

    The library is under the GPL, version 3. It is installed only with the extra `pedalboard`, and loaded
    only where a stack names this block. Plugins from files (VST3, Audio Unit) are not loaded.

    In:       samples  float32 [n]
    Out:      samples  float32 [n + tail]
    Timing:   1 → 1, and the tail; looks ahead as far as the plugins do (measured when wired) and a block of
              256 samples; a plugin may remember everything before
    Source:   pedalboard's process on the whole signal with the tail's silence behind it
    Raises:   ConfigError if the library, a plugin or a parameter is not there or a value is out of range,
              WiringError without a sample rate
    """

    @dataclass(frozen=True)
    class Options:
        """plugins as {"plugin": "Reverb", "room_size": 0.3}, in their order; they ring on for tail_ms."""

        plugins: list[dict[str, Any]]
        tail_ms: float = 0.0

    plugins: list[dict[str, Any]]
    rate: Fraction
    tail: int
    delay: int
    gives: Ports
    timing: Timing
    consumes: Ports | None = field(default_factory=lambda: SAMPLES)
    takes: Ports = field(default_factory=dict[str, Port])

    @classmethod
    def wire(cls, options: Options, site: Site) -> "Pedalboard":
        if not 0 <= options.tail_ms <= MOST_TAIL_MS:
            raise ConfigError(
                f"got {options.tail_ms} ms, want 0 to {MOST_TAIL_MS:g}", where=f"{site.path}.tail_ms"
            )
        port, rate = samples_above(site)
        where = f"{site.path}.plugins"
        library(where=site.path)
        check_plugins(options.plugins, rate, where=where)
        try:
            effects = _Effects(options.plugins, rate, tail=0, delay=0)
            delay = delay_of(effects, block=BLOCK, steps=Fraction(1), trial=TRIAL)
        except ValueError as error:  # some look at the sample rate only when samples come
            raise ConfigError(f"refused by pedalboard: {error}", where=where) from error
        tail = round(options.tail_ms / 1000 * rate)
        timing = Timing(left=delay, right=delay, lookahead=delay + BLOCK, tail=Fraction(tail))
        return cls(options.plugins, rate, tail, delay, {"samples": port}, timing)

    def open(self, tensors: Tensors, source: Stream | None) -> Stream:
        assert source is not None
        effects = _Effects(self.plugins, self.rate, tail=self.tail, delay=self.delay)
        return GridStream(source, effects, block=BLOCK, steps=Fraction(1), delay=self.delay)


class _Effects:
    """One utterance's plugins."""

    def __init__(self, plugins: list[dict[str, Any]], rate: Fraction, *, tail: int, delay: int) -> None:
        self._chain = chain(plugins)
        self._rate = float(rate)
        self._tail = tail
        self._delay = delay
        self._missing = 0

    def __call__(self, samples: Samples, *, last: bool) -> Samples:
        self._missing += samples.size
        if not last:
            given = self._processed(samples)
            self._missing -= given.size
            return given
        self._missing += self._tail
        parts = [self._processed(np.pad(samples, (0, BLOCK - samples.size)))]
        silence = np.zeros(BLOCK, np.float32)
        for _ in range(math.ceil((self._missing + self._delay) / BLOCK) + 1):
            if sum(part.size for part in parts) >= self._missing:
                break
            parts.append(self._processed(silence))
        given = np.concatenate(parts)[: self._missing]
        if given.size < self._missing:
            raise NetError(
                f"gave {self._missing - given.size} samples less than it took; leave out plugins one by one",
                where="pedalboard",
            )
        return given

    def _processed(self, samples: Samples) -> Samples:
        return self._chain.process(samples, self._rate, buffer_size=BLOCK, reset=False)
