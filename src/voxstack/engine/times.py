"""Add up where a request's time went: net by net, block by block, and what is outside of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from voxstack.engine.own_time import BlockTime, covered_ms, own_times
from voxstack.engine.recording import CHUNKS, Lane, Recording

__all__ = ["NetTime", "Times", "times"]


@dataclass(frozen=True)
class NetTime:
    """What one net took: runs (steps of a recurrent net count each), in all and before first audio."""

    net: str
    runs: int
    total_ms: float
    share: float
    runs_before_audio: int
    before_audio_ms: float


@dataclass(frozen=True)
class Times:
    """Where a request's time went; what is not in nets is text, blocks and the engine.

    wall_ms         all work for all chunks, without what the listener did between them
    first_audio_ms  the work for the first chunk
    nets            the longest first; those that run at the same time add up to more than the time it took
    nets_ms         in which at least one net ran; nets_before_audio_ms  that before first audio
    blocks          what each block took itself, without nets and blocks that it asked; the longest first
    """

    wall_ms: float
    first_audio_ms: float
    chunks: int
    nets: tuple[NetTime, ...]
    nets_ms: float
    nets_before_audio_ms: float
    blocks: tuple[BlockTime, ...] = ()

    @property
    def outside_ms(self) -> float:
        return self.wall_ms - self.nets_ms

    @property
    def outside_before_audio_ms(self) -> float:
        return self.first_audio_ms - self.nets_before_audio_ms


def times(seen: Recording, lanes: Sequence[Lane]) -> Times:
    """Add up what was seen, net by net and block by block."""
    chunks = [span for span in seen.spans if span.lane == CHUNKS]
    heard = [span for span in chunks if span.facts.get("samples")]
    wall_ms = sum(span.duration_ms for span in chunks)
    first_end = heard[0].end_ns if heard else 0
    nets: list[NetTime] = []
    for lane in lanes:
        if lane.kind != "net":
            continue
        spans = [span for span in seen.spans if span.lane == lane.name]
        runs = [span for span in spans if span.what != "begin"]
        total_ms = sum(span.duration_ms for span in spans)
        nets.append(
            NetTime(
                net=lane.name,
                runs=len(runs),
                total_ms=total_ms,
                share=total_ms / wall_ms if wall_ms else 0.0,
                runs_before_audio=sum(span.end_ns <= first_end for span in runs),
                before_audio_ms=sum(span.duration_ms for span in spans if span.end_ns <= first_end),
            )
        )
    nets.sort(key=lambda net: -net.total_ms)
    worked = {lane.name for lane in lanes if lane.kind == "net"}
    running = [span for span in seen.spans if span.lane in worked]
    return Times(
        wall_ms,
        heard[0].duration_ms if heard else 0.0,
        len(heard),
        tuple(nets),
        nets_ms=covered_ms(running),
        nets_before_audio_ms=covered_ms([span for span in running if span.end_ns <= first_end]),
        blocks=own_times(seen.spans, lanes, wall_ms=wall_ms, first_end=first_end),
    )
