"""Measure how long everything above takes, read by read."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from voxstack.core.blocks import Stream, Timing
from voxstack.core.events import Event, report
from voxstack.core.ports import Tensors
from voxstack.core.site import Site
from voxstack.stages.audio.diagnostics.passing import PassingBlock, PassingStream, Place

__all__ = ["Timer"]


@dataclass(frozen=True)
class Timer(PassingBlock):
    """Add up the time spent in reads of the stream above; report it once an utterance is over.

    It is the time of all that stands above, another Timer included: the difference of two is that of
    what stands between them. What happens before the first read, such as encoding, is not in it.

    In:       anything
    Out:      the same
    Timing:   1 → 1, no context
    Reports:  timer
    """

    @dataclass(frozen=True)
    class Options:
        """`name` stands in its events."""

        name: str | None = None

    clock: Callable[[], float] = time.perf_counter

    @classmethod
    def wire(cls, options: Options, site: Site) -> "Timer":
        flow = cls.flow(site)
        return cls(Place.of(site, options.name, flow), {}, flow, flow, Timing())

    def open(self, tensors: Tensors, source: Stream | None) -> Stream:
        assert source is not None
        timed = _Timed(source, self.clock)
        return PassingStream(timed, _Telling(self.place, timed))


class _Timed:
    """A source whose reads are timed."""

    def __init__(self, source: Stream, clock: Callable[[], float]) -> None:
        self._source = source
        self._clock = clock
        self.reads = 0
        self.first_s = self.longest_s = self.total_s = 0.0

    def read(self, steps: int) -> Tensors:
        before = self._clock()
        chunk = self._source.read(steps)
        took_s = self._clock() - before
        self.first_s = self.first_s if self.reads else took_s
        self.longest_s = max(self.longest_s, took_s)
        self.total_s += took_s
        self.reads += 1
        return chunk

    def close(self) -> None:
        self._source.close()


class _Telling:
    """Who tells the times of one utterance when it is over."""

    def __init__(self, place: Place, timed: _Timed) -> None:
        self._place = place
        self._timed = timed

    def look(self, chunk: Tensors, start: int) -> None:
        pass

    def end(self, steps: int) -> None:
        timed, place = self._timed, self._place
        total_ms, first_ms = timed.total_s * 1000, timed.first_s * 1000
        rtf = timed.total_s * float(place.rate) / steps if place.rate and steps else None
        reads = f"{timed.reads} read{'' if timed.reads == 1 else 's'}"
        text = f"{reads} took {total_ms:.1f} ms, the first {first_ms:.1f} ms"
        if rtf is not None:
            text += f"; real-time factor {rtf:.3f}"
        values = {
            "reads": timed.reads,
            "total_ms": round(total_ms, 4),
            "first_ms": round(first_ms, 4),
            "longest_ms": round(timed.longest_s * 1000, 4),
            "steps": steps,
            "rtf": None if rtf is None else round(rtf, 6),
        }
        report(Event("timer", place.name, place.frame(steps), f"{place.title}{text}", values))

    def close(self) -> None:
        pass
