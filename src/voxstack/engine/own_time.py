"""Say how much time each block took itself: its spans without what other blocks and nets did inside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from voxstack.engine.recording import Lane, Span

__all__ = ["BlockTime", "covered_ms", "own_times"]


@dataclass(frozen=True)
class BlockTime:
    """What one block took without the blocks and nets that it asked: in all and before first audio.

    block  its name and path, as its lane is called; runs, its reads, or runs on a whole utterance
    """

    block: str
    runs: int
    own_ms: float
    share: float
    runs_before_audio: int
    own_before_audio_ms: float


def own_times(
    spans: Sequence[Span], lanes: Sequence[Lane], *, wall_ms: float, first_end: int
) -> tuple[BlockTime, ...]:
    """Return the time of each block, the longest first.

    In:       wall_ms    all work, of which a share is said
              first_end  when the first audio was there, ns
    """
    inside: dict[int, list[Span]] = {}
    for span in spans:
        if span.parent is not None:
            inside.setdefault(span.parent, []).append(span)
    found = [_of(lane, spans, inside, wall_ms, first_end) for lane in lanes if lane.kind == "block"]
    return tuple(sorted(found, key=lambda block: -block.own_ms))


def _of(
    lane: Lane, spans: Sequence[Span], inside: Mapping[int, Sequence[Span]], wall_ms: float, first_end: int
) -> BlockTime:
    mine = [(span, inside.get(place, ())) for place, span in enumerate(spans) if span.lane == lane.name]
    own = [(span, span.duration_ms - covered_ms(others)) for span, others in mine]
    before = [(span, ms) for span, ms in own if span.end_ns <= first_end]
    own_ms = sum(ms for _, ms in own)
    return BlockTime(
        lane.title or lane.name,
        runs=sum(span.what != "open" for span, _ in own),
        own_ms=own_ms,
        share=own_ms / wall_ms if wall_ms else 0.0,
        runs_before_audio=sum(span.what != "open" for span, _ in before),
        own_before_audio_ms=sum(ms for _, ms in before),
    )


def covered_ms(spans: Sequence[Span]) -> float:
    """Return how long at least one of the spans lasted."""
    covered_ns = end_ns = 0
    for span in sorted(spans, key=lambda span: span.start_ns):
        covered_ns += max(0, span.end_ns - max(span.start_ns, end_ns))
        end_ns = max(end_ns, span.end_ns)
    return covered_ns / 1e6
