"""Say of each chunk whether it was there in time, for a listener who plays on from the first audio.

chunk 1 ready = playback starts
▼
├── plays chunk 1 ──┼── plays chunk 2 ──┼─ … ─┼   dry   ┼── plays chunk 5
          ▲ chunk 2 ready               ▲ deadline of 5 ▲ chunk 5 ready
          └─ ahead ─┘ deadline of 2
"""

from collections.abc import Sequence
from dataclasses import dataclass

from voxstack.engine.recording import CHUNKS, Span

__all__ = ["Delivery", "Playout", "playout"]

MOST_POINTS = 1000
"""Points of the curve of audio ahead, about; it falls as time goes by, and a viewer draws steps."""

LEAST_APART_NS = 5_000_000


@dataclass(frozen=True)
class Delivery:
    """One chunk: when it was ready, when it was needed, how much it holds.

    The first is needed when it is ready, for playback starts with it; after a gap, playback goes on
    with the chunk that ended the gap.
    """

    number: int
    ready_ns: int
    deadline_ns: int
    audio_ms: float

    @property
    def ahead_ms(self) -> float:
        """How long before it was needed it was ready; less than 0: the listener waited so long."""
        return (self.deadline_ns - self.ready_ns) / 1e6


@dataclass(frozen=True)
class Playout:
    """All chunks of a request as its listener meets them."""

    deliveries: tuple[Delivery, ...]

    @property
    def tightest(self) -> Delivery | None:
        """The chunk with the least time to spare; None if there is but one."""
        return min(self.deliveries[1:], key=lambda one: one.ahead_ms, default=None)

    @property
    def dry(self) -> tuple[Delivery, ...]:
        """The chunks that came too late."""
        return tuple(one for one in self.deliveries if one.ahead_ms < 0)

    @property
    def dry_ms(self) -> float:
        """How long the listener heard nothing where there should have been something."""
        return -sum(one.ahead_ms for one in self.dry)

    def curve(self) -> list[tuple[int, float]]:
        """Return moments and how much audio lay ahead of the listener then, in ms, never below 0."""
        if not self.deliveries:
            return []
        first, last = self.deliveries[0], self.deliveries[-1]
        apart = max((last.ready_ns - first.ready_ns) // MOST_POINTS, LEAST_APART_NS)
        points: list[tuple[int, float]] = [(first.ready_ns, first.audio_ms)]
        until = first.ready_ns + round(first.audio_ms * 1e6)
        for one in self.deliveries[1:]:
            moments = [*range(points[-1][0] + apart, one.ready_ns - 1, apart), one.ready_ns - 1]
            points += [(at, max(until - at, 0) / 1e6) for at in moments if at > points[-1][0]]
            until = max(until, one.ready_ns) + round(one.audio_ms * 1e6)
            points.append((one.ready_ns, (until - one.ready_ns) / 1e6))
        return points


def playout(spans: Sequence[Span]) -> Playout:
    """Return how the chunks that were recorded met their listener."""
    deliveries: list[Delivery] = []
    until = 0
    for span in spans:
        samples = span.facts.get("samples", 0)
        if span.lane != CHUNKS or not samples:
            continue
        audio_ms = samples * 1000 / span.facts["sample_rate"]
        deadline = until if deliveries else span.end_ns
        deliveries.append(Delivery(len(deliveries) + 1, span.end_ns, deadline, audio_ms))
        until = max(deadline, span.end_ns) + round(audio_ms * 1e6)
    return Playout(tuple(deliveries))
