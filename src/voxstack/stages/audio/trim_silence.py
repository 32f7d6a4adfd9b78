"""Leave out the silence before and behind what is said."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import numpy as np

from voxstack.core.blocks import Stream, Timing
from voxstack.core.errors import Cancelled, ConfigError
from voxstack.core.events import LEFT_OUT, Event, report
from voxstack.core.ports import Array, Port, Ports, Tensors
from voxstack.core.site import Site
from voxstack.stages.audio.sampled import SAMPLES, samples_above

__all__ = ["TrimSilence"]

MOST_MS = 10_000.0
LEAST_DB = -120.0


@dataclass(frozen=True)
class TrimSilence:
    """Each utterance without the samples below a threshold at its start and its end.

    Silence is held back until sound follows, which goes on with all of it, or until the end comes, which
    drops it. No more than most_ms are held, so no more than that is left out at either end.

    In:       samples  float32 [n]
    Out:      samples  float32 [m], n - 2 · most_ms ≤ m ≤ n
    Timing:   1 → 1 but for what is left out; looks ahead by what may be left out and held
    Reports:  left_out, what an utterance lost at its start
    Raises:   ConfigError if an option is out of range, WiringError without a sample rate
    """

    @dataclass(frozen=True)
    class Options:
        """What is silence, and how much of it goes.

        threshold_db  in dB below full scale; a sample is silent if it is below it
        keep_ms       of silence that stay at each end, in ms
        most_ms       of silence that are left out at one end, in ms
        where         at which end
        """

        threshold_db: float = -50.0
        keep_ms: float = 20.0
        most_ms: float = 1000.0
        where: Literal["both", "start", "end"] = "both"

    threshold: float
    keep: int
    most_start: int
    most_end: int
    rate: Fraction
    gives: Ports
    consumes: Ports | None = field(default_factory=lambda: SAMPLES)
    takes: Ports = field(default_factory=dict[str, Port])

    @classmethod
    def wire(cls, options: Options, site: Site) -> "TrimSilence":
        if not LEAST_DB <= options.threshold_db < 0:
            raise ConfigError(
                f"got {options.threshold_db:g} dB, want {LEAST_DB:g} or more, below 0",
                where=f"{site.path}.threshold_db",
            )
        for key, value in (("keep_ms", options.keep_ms), ("most_ms", options.most_ms)):
            if not 0 <= value <= MOST_MS:
                raise ConfigError(f"got {value:g} ms, want 0 to {MOST_MS:g}", where=f"{site.path}.{key}")
        port, rate = samples_above(site)
        keep, most = (round(ms / 1000 * rate) for ms in (options.keep_ms, options.most_ms))
        return cls(
            threshold=10 ** (options.threshold_db / 20),
            keep=keep,
            most_start=0 if options.where == "end" else most,
            most_end=0 if options.where == "start" else most,
            rate=rate,
            gives={"samples": port},
        )

    @property
    def timing(self) -> Timing:
        most = self.most_start + self.most_end
        return Timing(right=self.most_end, lookahead=most + 2 * self.keep, rounding=Fraction(most))

    def open(self, tensors: Tensors, source: Stream | None) -> Stream:
        assert source is not None
        return _TrimmedStream(source, self)


class _TrimmedStream:
    """A stream that holds silence back; what it lets go depends on where samples stand, not on reads."""

    def __init__(self, source: Stream, block: TrimSilence) -> None:
        self._source: Stream | None = source
        self._block = block
        self._held = np.zeros(0, np.float32)
        self._ready = np.zeros(0, np.float32)
        self._dropped = 0
        self._has_begun = not block.most_start
        self._is_over = False

    def read(self, steps: int) -> Tensors:
        if self._source is None:
            raise Cancelled("read after close")
        parts, have = [self._ready], len(self._ready)
        while have < steps and not self._is_over:
            wanted = steps - have
            chunk = self._source.read(wanted)["samples"]
            self._is_over = len(chunk) < wanted
            parts.append(self._let_go(chunk))
            have += len(parts[-1])
        joined = np.concatenate(parts)
        self._ready = joined[steps:]
        return {"samples": joined[:steps]}

    def close(self) -> None:
        if self._source is not None:
            self._source.close()
        self._source = None
        self._held = self._ready = np.zeros(0, np.float32)

    def _let_go(self, chunk: Array) -> Array:
        """Return what of the samples held and of new ones can go on."""
        block = self._block
        held = np.concatenate([self._held, chunk])
        begin = 0
        # What is no number is no silence: whoever listens shall find it.
        loud = len(self._held) + np.flatnonzero(~(np.abs(chunk) < block.threshold))
        if not self._has_begun:
            begin, self._has_begun = self._start(len(held), loud)
            self._dropped += begin
            if self._has_begun and self._dropped:
                values = {"steps": self._dropped, "rate": block.rate}
                report(Event(LEFT_OUT, "TrimSilence", 0, values=values))
        if not (self._has_begun or self._is_over):
            self._held = held[begin:]
            return held[:0]
        stop = int(loud[-1]) + 1 if len(loud) else begin
        # Silence behind the last sound, beyond what may be left out and what is kept, is none at the end.
        stop = max(stop, min(len(held), len(held) - block.most_end - block.keep))
        if self._is_over:
            stop = max(stop, min(stop + block.keep, len(held)), len(held) - block.most_end)
        self._held = held[stop:]
        return held[begin:stop]

    def _start(self, size: int, loud: Array) -> tuple[int, bool]:
        """Return how many of the first samples are left out, and whether what is said has begun."""
        block = self._block
        silent = int(loud[0]) if len(loud) else size
        left = block.most_start - self._dropped
        drop = min(max(silent - block.keep, 0), left)
        return drop, bool(len(loud)) or drop == left
