"""Keep what was seen of one request: who worked when, inside which other, and what was noticed.

A recording runs in a context: what looks on there finds it by `current_recording`.
"""

import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from voxstack.core.events import TAP, Event, listening
from voxstack.core.ports import Array
from voxstack.engine.audio import Audio

__all__ = ["CHUNKS", "UTTERANCE", "Lane", "Noted", "Recording", "Span", "current_recording", "recording"]

CHUNKS = "chunks"
"""The lane of what the listener is given."""

UTTERANCE = "utterance"
"""The fact of a span that says which utterance it belongs to."""

Kind: TypeAlias = Literal["chunks", "block", "net"]


@dataclass(frozen=True, slots=True)
class Lane:
    """One thing that works: the listener's chunks, a block (name: its path), or a net.

    `is_container` says that other blocks stand inside it; its time is theirs.
    """

    name: str
    kind: Kind
    title: str
    is_container: bool = False


@dataclass(slots=True)
class Span:
    """One stretch of work: who, what, from when to when, inside which other.

    what    "chunk", "open", "run", "read", "begin" or "step"
    parent  place in the recording of the span that asked for it, None for a chunk
    facts   steps, shapes, utterance …, what there is to know
    """

    lane: str
    what: str
    start_ns: int
    end_ns: int
    parent: int | None
    facts: dict[str, Any]

    @property
    def duration_ms(self) -> float:
        return (self.end_ns - self.start_ns) / 1e6


@dataclass(frozen=True, slots=True)
class Noted:
    """An event that a block reported, when, and in which utterance."""

    at_ns: int
    utterance: int
    event: Event

    def audio_s(
        self, places: Mapping[int, tuple[int, int]], *, sample_rate: int, frame_rate: float | None
    ) -> float:
        """Return its second of the request's audio: that of its frame, or else its utterance's end.

        In:       places  as `Recording.places`
        What was noticed in frames that nobody hears stands at the end of what is heard.
        """
        end = max((start + samples for start, samples in places.values()), default=0)
        start, samples = places.get(self.utterance, (end, 0))
        inside_s = samples / sample_rate
        if frame_rate is not None:
            inside_s = min(inside_s, self.event.step / frame_rate)
        return start / sample_rate + inside_s


@dataclass
class Recording:
    """What was seen of one request.

    spans   in the order in which they began
    events  in the order in which they were reported
    mels    by utterance, the frames that flowed to what makes samples of them
    """

    spans: list[Span] = field(default_factory=list[Span])
    events: list[Noted] = field(default_factory=list[Noted])
    mels: dict[int, list[Array]] = field(default_factory=dict[int, list[Array]])
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @contextmanager
    def span(
        self, lane: str, what: str, facts: Mapping[str, Any] | None = None
    ) -> Generator[Span, None, None]:
        """Note the work done inside this block; the span's facts may be filled in meanwhile."""
        around = _inside.get()
        span = Span(lane, what, 0, 0, around[-1] if around else None, dict(facts or {}))
        with self._lock:  # encoders may run at the same time
            token = _inside.set((*around, len(self.spans)))
            self.spans.append(span)
        span.start_ns = time.perf_counter_ns()
        try:
            yield span
        finally:
            span.end_ns = time.perf_counter_ns()
            _inside.reset(token)

    def chunks(self, source: Iterator[Audio]) -> Generator[Audio, None, None]:
        """Yield the chunks of `voice.chunks(…)`, noting the work for each."""
        while True:
            with self.span(CHUNKS, "chunk") as span:
                chunk = next(source, None)
                if chunk is not None:
                    span.facts |= {"samples": len(chunk.samples), "sample_rate": chunk.sample_rate}
            if chunk is None:
                return
            yield chunk

    def hear(self, event: Event) -> None:
        """Note an event down, but for copies of what flowed: who wants them listens, and they are large."""
        if event.kind == TAP:
            return
        found = (self.spans[place].facts.get(UTTERANCE) for place in reversed(_inside.get()))
        utterance = next((number for number in found if number is not None), None)
        if utterance is None:  # its text is being read: the next one that will be opened
            opened = [span.facts.get(UTTERANCE, -1) for span in self.spans]
            utterance = max(opened, default=-1) + 1
        self.events.append(Noted(time.perf_counter_ns(), utterance, event))

    def places(self, last: str) -> dict[int, tuple[int, int]]:
        """Return, by utterance, its first sample in the request's audio and its number of samples.

        In:       last  the block whose samples the listener hears
        A chunk is what was read for it from there, after the pause if an utterance begins with it.
        """
        chunk_at: dict[int, int] = {}
        read: dict[int, int] = {}
        position = 0
        for number, span in enumerate(self.spans):
            if span.lane == CHUNKS:
                chunk_at[number] = position
                position += span.facts.get("samples", 0)
            elif span.lane == last and span.what == "read" and span.parent in chunk_at:
                read[span.parent] = read.get(span.parent, 0) + span.facts.get("steps", 0)
        places: dict[int, tuple[int, int]] = {}
        for span in self.spans:
            if span.lane != last or span.what != "read" or span.parent not in chunk_at:
                continue
            steps = span.facts.get("steps", 0)
            begin = chunk_at[span.parent]
            if steps:
                begin += self.spans[span.parent].facts.get("samples", 0) - read[span.parent]
            start, samples = places.get(span.facts[UTTERANCE], (begin, 0))
            places[span.facts[UTTERANCE]] = (start, samples + steps)
        return places

    def mel(self, utterance: int) -> Array | None:
        """Return an utterance's mel as it flowed, [frames, bands], or None if there was none."""
        frames = self.mels.get(utterance)
        return np.concatenate(frames) if frames else None


_inside: ContextVar[tuple[int, ...]] = ContextVar("voxstack_inside", default=())
"""Places of the spans that this context is in, the outermost first."""

_recording: ContextVar[Recording | None] = ContextVar("voxstack_recording", default=None)


def current_recording() -> Recording | None:
    """Return what records here, None where nothing does."""
    return _recording.get()


@contextmanager
def recording() -> Generator[Recording, None, None]:
    """Record what is spoken inside this block, by this thread."""
    seen = Recording()
    token, outside = _recording.set(seen), _inside.set(())
    try:
        with listening(seen.hear):
            yield seen
    finally:
        _inside.reset(outside)
        _recording.reset(token)
