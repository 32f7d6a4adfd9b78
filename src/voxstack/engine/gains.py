"""Work out of a recording where time could be saved next, and how much at most.

Work that nobody needs could go wholly: context computed again, what only a net's first run costs, an
utterance that is encoded before it is needed. Work that is needed counts by half, as if it were done
twice as fast. What saves the largest share of its whole comes first.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from voxstack.core.nets import NetSpec
from voxstack.engine.recording import CHUNKS, Recording, Span
from voxstack.engine.times import Times

__all__ = ["Gain", "gains"]

FASTER = 0.5
"""The part that is saved of work that is done twice as fast."""


@dataclass(frozen=True)
class Gain:
    """One way to save time.

    kind      "net", "block", "overlap", "outside", "first use" or "early"
    saves_ms  how much, at most
    of        what it is saved of: "first audio", or "all work"; of_ms is how long that takes
    how       how the number was worked out
    """

    kind: Literal["net", "block", "overlap", "outside", "first use", "early"]
    saves_ms: float
    of: Literal["first audio", "all work"]
    of_ms: float
    how: str

    @property
    def share(self) -> float:
        return self.saves_ms / self.of_ms if self.of_ms else 0.0


def gains(seen: Recording, spent: Times, specs: Mapping[str, NetSpec]) -> list[Gain]:
    """Return what could be saved, the largest share first; nothing that saves nothing.

    In:       specs  of the nets, by lane
    """
    first_end = next((s.end_ns for s in seen.spans if s.lane == CHUNKS and s.facts.get("samples")), 0)
    found = [
        *_largest_net(spent),
        *_largest_block(spent, "first audio"),
        *_largest_block(spent, "all work"),
        *(gain for name, spec in specs.items() for gain in _overlap(seen.spans, spent, name, spec)),
        *(
            gain
            for name, spec in specs.items()
            for gain in _first_use(seen.spans, spent, name, spec, first_end)
        ),
        *_early(seen.spans, spent, first_end),
    ]
    return sorted((gain for gain in found if gain.saves_ms > 0), key=lambda gain: -gain.share)


def _largest_net(spent: Times) -> Iterator[Gain]:
    net = max(spent.nets, key=lambda net: net.before_audio_ms, default=None)
    if net is not None:
        how = (
            f"net {net.net} takes {net.before_audio_ms:.1f} ms before first audio; "
            "twice as fast would save half of that"
        )
        yield Gain("net", FASTER * net.before_audio_ms, "first audio", spent.first_audio_ms, how)


def _largest_block(spent: Times, of: Literal["first audio", "all work"]) -> Iterator[Gain]:
    """Count what the block took itself that took most, and all else outside nets."""
    is_first = of == "first audio"
    when, whole_ms = ("before first audio", spent.first_audio_ms) if is_first else ("in all", spent.wall_ms)
    own = [(one.own_before_audio_ms if is_first else one.own_ms, one.block) for one in spent.blocks]
    largest_ms, block = max(own, default=(0.0, ""))
    rest_ms = (spent.outside_before_audio_ms if is_first else spent.outside_ms) - largest_ms
    how = "{} take{} {:.1f} ms {}; twice as fast would save half of that"
    told = how.format(f"block {block}", "s", largest_ms, when)
    yield Gain("block", FASTER * largest_ms, of, whole_ms, told)
    told = how.format("text, other blocks and the engine", "", rest_ms, when)
    yield Gain("outside", FASTER * rest_ms, of, whole_ms, told)


def _overlap(spans: Sequence[Span], spent: Times, name: str, spec: NetSpec) -> Iterator[Gain]:
    """Compare the steps that a net computed in its windows with those that its block gave."""
    runs = [span for span in spans if span.lane == name and span.what == "run" and span.parent is not None]
    if spec.ragged is None or not spec.ragged.chunkable or not runs:
        return
    blocks = {spans[span.parent].lane for span in runs if span.parent is not None}
    given = sum(s.facts.get("steps", 0) for s in spans if s.lane in blocks and s.what == "read")
    kept = given / spec.ragged.hop
    computed = sum(_steps(span, spec) for span in runs)
    if not computed or kept >= computed:
        return
    total_ms = sum(span.duration_ms for span in runs)
    again = 1 - kept / computed
    how = (
        f"net {name} computed {computed:,} {spec.ragged.axis} and {kept:,.0f} were kept, so {again:.0%} of "
        f"its {total_ms:.1f} ms went into context and filling; larger chunks would save at most that: "
        "set `chunks` of the profile in a deployment file, first_ms or growth"
    )
    yield Gain("overlap", total_ms * again, "all work", spent.wall_ms, how)


def _first_use(
    spans: Sequence[Span], spent: Times, name: str, spec: NetSpec, first_end: int
) -> Iterator[Gain]:
    """Compare a net's first run with later ones that computed as much or more."""
    runs = [span for span in spans if span.lane == name and span.what == "run"]
    if not runs:
        return
    first, *later = runs
    as_large = [span.duration_ms for span in later if _steps(span, spec) >= _steps(first, spec)]
    if not as_large:
        return
    usual_ms = statistics.median(as_large)
    how = (
        f"the first run of net {name} took {first.duration_ms:.1f} ms, later ones of as many steps or more "
        f"{usual_ms:.1f} ms; warming up would save the rest"
    )
    saves_ms = first.duration_ms - usual_ms
    if first.end_ns <= first_end:
        yield Gain("first use", saves_ms, "first audio", spent.first_audio_ms, how)
    else:
        yield Gain("first use", saves_ms, "all work", spent.wall_ms, how)


def _early(spans: Sequence[Span], spent: Times, first_end: int) -> Iterator[Gain]:
    """Count utterances that were opened before first audio, but for the one that gave it."""
    opened = [
        span
        for span in spans
        if span.what == "open" and span.end_ns <= first_end and _is_outermost(spans, span)
    ]
    early = [span for span in opened if span.facts["utterance"] != opened[-1].facts["utterance"]]
    if early:
        saves_ms = sum(span.duration_ms for span in early)
        how = (
            f"{len(early) + 1} utterances were encoded before first audio; "
            f"all but the one that gave it took {saves_ms:.1f} ms"
        )
        yield Gain("early", saves_ms, "first audio", spent.first_audio_ms, how)


def _is_outermost(spans: Sequence[Span], span: Span) -> bool:
    return span.parent is None or spans[span.parent].lane == CHUNKS


def _steps(span: Span, spec: NetSpec) -> int:
    """Return how many steps of its ragged axis a net's run computed, filling counted."""
    shapes: Mapping[str, list[int]] = span.facts["takes"]
    if spec.ragged is None:
        return 1
    axis = spec.ragged.axis
    sizes = [
        shapes[name][place]
        for name in spec.inputs
        if name in shapes
        for place, size in enumerate(spec.port(name).axes)
        if size == axis
    ]
    return max(sizes, default=1)
