"""Stretch speech in time without changing its pitch: waveform-similarity overlap-add.

    input      ──┬────────┬────────┬────────┬──►     a segment is wanted each hop · rate samples,
                 │  ◄─┼─► │   ◄┼─► │  ◄──┼─►         and taken where, near there, the wave goes on
    segments    ╱╲       ╱╲       ╱╲       ╱╲        as it does behind the segment before
    output     ╱  ╲╱╲╱╲╱╲  ╲╱╲ …                     they overlap by half, each hop samples

Where a segment stands follows from the one before, so from the first; the input is forgotten as it goes.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from voxstack.stages.audio.grid import Samples

__all__ = ["Segments", "Wsola"]

TAPS = 16
"""Samples each side that a segment between two samples is interpolated from."""

NEARER = 1e-4
"""What similarity the furthest place loses to the nearest, so that silence does not wander."""

QUIET = 1e-9
"""Energy of a segment, full scale squared, below which it is like nothing."""

Wave = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Segments:
    """How long segments are, and how far from where it is wanted one may be taken; in samples.

    Two hops are a segment. It should hold a period of the lowest voice, and the search should reach one.
    """

    rate: Fraction
    hop: int
    search: int

    @classmethod
    def of(cls, rate: Fraction, sample_rate: Fraction) -> "Segments":
        """Return segments of 24 ms, searched for 8 ms to each side."""
        return cls(rate, max(4, round(sample_rate * 12 / 1000)), max(2, round(sample_rate * 8 / 1000)))

    @property
    def ahead(self) -> int:
        """Input samples that may have to be there before the output of an earlier one can be given."""
        return 2 * self.hop + self.search + TAPS + 1 + math.ceil(self.hop * self.rate)

    def ideal(self, number: int) -> int:
        """Return where the middle of a segment is wanted."""
        return math.floor(number * self.hop * self.rate)


class Wsola:
    """One utterance being stretched; fed samples, it gives those that are sure by now.

    Out:      samples  float32 [m], of all together m = `total(n)`
    Source:   W. Verhelst and M. Roelands, "An overlap-add technique based on waveform similarity (WSOLA)
              for high quality time-scale modification of speech", ICASSP 1993; places are refined to parts
              of a sample by a parabola through the three best
    """

    def __init__(self, segments: Segments, *, spare: int = 0) -> None:
        self._segments = segments
        self._spare = spare
        hop = segments.hop
        # A segment's window and the next one's add up to 1 all along the half that they share.
        self._falling = 0.5 + 0.5 * np.cos(np.pi * np.arange(hop) / hop)
        self._input = np.zeros(0)
        self._base = 0
        self._arrived = 0
        self._number = 0
        self._place = 0.0
        self._given = 0

    def total(self, steps: int) -> int:
        """Return how many samples `steps` of input become: steps / rate, rounded (halves up), and spare."""
        return math.floor(steps / self._segments.rate + Fraction(1, 2)) + self._spare

    def feed(self, samples: Samples, *, last: bool) -> Samples:
        """Return what can be told with `samples` behind all that came before."""
        self._input = np.concatenate([self._input, samples])
        self._arrived += samples.size
        total = self.total(self._arrived) if last else None
        made: list[Wave] = []
        while self._reach() <= self._arrived if total is None else self._given < total:
            made.append(self._step())
        joined = np.concatenate(made or [np.zeros(0)]).astype(np.float32)
        if total is not None and self._given > total:
            joined = joined[: joined.size - (self._given - total)]
        self._forget()
        return joined

    def _reach(self) -> int:
        """Return up to where the input must be there for the next segment, and for the one to be like."""
        segments = self._segments
        wanted = segments.ideal(self._number + 1) + segments.search
        return max(wanted, math.ceil(self._place) + segments.hop) + segments.hop + TAPS + 1

    def _step(self) -> Wave:
        """Place the next segment; return the hop that it shares with the one before."""
        hop = self._segments.hop
        after = self._place + hop
        going_on = self._segment(after)
        self._number += 1
        self._place = self._best(going_on, after)
        self._given += hop
        before, next_ = going_on[:hop], self._segment(self._place)[:hop]
        shared: Wave = next_ + (before - next_) * self._falling
        return shared

    def _best(self, like: Wave, after: float) -> float:
        """Return the place near the ideal one where the input is most like `like`, a segment."""
        segments = self._segments
        ideal, search, hop = segments.ideal(self._number), segments.search, segments.hop
        if abs(after - ideal) < 1:
            return after  # the wave may simply go on
        there = self._at(ideal - search - hop, 2 * (search + hop))
        found = np.correlate(there, like, "valid")
        if not np.isfinite(found).all():
            return float(ideal)  # what is no number is like nothing
        energies = np.concatenate([[0.0], np.cumsum(there * there)])
        energies = energies[2 * hop :] - energies[: -2 * hop]
        scale = np.sqrt(np.maximum(energies, 0.0) * (like @ like))
        alike = np.where(scale > QUIET, found / np.maximum(scale, QUIET), 0.0)
        alike -= NEARER * np.abs(np.arange(-search, search + 1)) / search
        best = int(np.argmax(alike))
        return float(ideal - search + best + _summit(alike[max(best - 1, 0) : best + 2]))

    def _segment(self, middle: float) -> Wave:
        """Return the input from a hop before `middle` to a hop behind it, between samples if need be."""
        whole = math.floor(middle)
        part = middle - whole
        hop = self._segments.hop
        if part == 0:
            return self._at(whole - hop, 2 * hop)
        offsets = np.arange(-TAPS + 1, TAPS + 1) - part
        kernel = np.sinc(offsets) * (0.5 + 0.5 * np.cos(np.pi * offsets / TAPS))
        around = self._at(whole - hop - TAPS + 1, 2 * (hop + TAPS) - 1)
        return np.correlate(around, kernel, "valid").astype(np.float64)

    def _at(self, start: int, size: int) -> Wave:
        """Return input from `start` on; silence stands beyond the utterance's ends."""
        lo, hi = max(start, self._base), min(start + size, self._arrived)
        if hi <= lo:
            return np.zeros(size)
        wave = np.zeros(size)
        wave[lo - start : hi - start] = self._input[lo - self._base : hi - self._base]
        return wave

    def _forget(self) -> None:
        segments = self._segments
        needed = min(math.floor(self._place), segments.ideal(self._number + 1) - segments.search)
        drop = min(needed - segments.hop - TAPS, self._arrived) - self._base
        if drop > 0:
            self._input = self._input[drop:].copy()
            self._base += drop


def _summit(alike: Wave) -> float:
    """Return where a parabola through three neighbours has its top, from the middle one: -0.5 to 0.5."""
    if alike.size < 3:
        return 0.0
    left, middle, right = alike
    bend = left - 2 * middle + right
    return float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5)) if bend < 0 else 0.0
