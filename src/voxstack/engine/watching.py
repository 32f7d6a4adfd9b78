"""Watch a voice at work: when each block and net worked, and what flowed to the vocoder.

A Watcher is given to a voice when it is loaded and puts a wrapper around each block and net. The
wrappers only look: what they hand on is what they were given. They note something down only while a
recording runs in the same context; a voice that is loaded without a Watcher has no wrappers at all.
"""

import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast

import numpy as np

from voxstack.core.blocks import SequenceBlock, Stream, StreamableBlock
from voxstack.core.events import TAP, Event, listening
from voxstack.core.nets import Net, NetSpec, Recurrence
from voxstack.core.ports import Array, Tensors
from voxstack.core.sizes import ShapePolicy
from voxstack.core.streams import length
from voxstack.engine.audio import Audio

__all__ = ["CHUNKS", "Lane", "Noted", "Recording", "Span", "Watcher"]

CHUNKS = "chunks"
"""The lane of what the listener is given."""

MEL, SAMPLES, UTTERANCE = "mel", "samples", "utterance"

Block: TypeAlias = StreamableBlock | SequenceBlock
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


class Watcher:
    """Look at one voice's blocks and nets; give it to `load` as `watch`.

    Example:
        watcher = Watcher()
        voice = load("joe", watch=watcher)
        with watcher.recording() as seen:
            for chunk in seen.chunks(voice.chunks("Hello there.")): ...
    """

    def __init__(self) -> None:
        self._blocks: dict[str, tuple[str, Block]] = {}
        self._nets: list[str] = []

    def net(self, name: str, net: Net) -> Net:
        """Return a net that does the same and is seen."""
        self._nets.append(name)  # from several threads, in any order
        return _SeenNet(name, net)

    def block(self, path: str, name: str, block: Block) -> Block:
        """Return a block that does the same and is seen."""
        self._blocks[path] = (name, block)  # inner ones come first, so a container is known as one here
        if hasattr(block, "open"):
            seen = _SeenStreamable(path, self._is_container(path), cast("StreamableBlock", block))
        else:
            seen = _SeenSequence(path, block)
        return cast("Block", seen)  # ports and timing are handed on as they are

    @property
    def lanes(self) -> list[Lane]:
        """All there is to see: the chunks, the blocks from the last to the first, then the nets."""
        blocks = [
            Lane(path, "block", f"{name} {path}", is_container=self._is_container(path))
            for path, (name, _) in self._blocks.items()
        ]
        nets = [Lane(name, "net", f"net {name}") for name in sorted(self._nets)]
        return [Lane(CHUNKS, "chunks", "chunks for the listener"), *reversed(blocks), *nets]

    @property
    def last(self) -> str:
        """The path of the block whose samples the listener hears."""
        return [
            path
            for path, (_, block) in self._blocks.items()
            if SAMPLES in block.gives and not self._is_container(path)
        ][-1]

    @contextmanager
    def recording(self) -> Generator[Recording, None, None]:
        """Record what is spoken inside this block, by this thread."""
        seen = Recording()
        token, outside = _recording.set(seen), _inside.set(())
        try:
            with listening(seen.hear):
                yield seen
        finally:
            _inside.reset(outside)
            _recording.reset(token)

    def _is_container(self, path: str) -> bool:
        return any(known.startswith((f"{path}.", f"{path}[")) for known in self._blocks)


class _SeenNet:
    """A net whose runs are noted down."""

    def __init__(self, lane: str, net: Net) -> None:
        self._lane = lane
        self._net = net

    @property
    def spec(self) -> NetSpec:
        return self._net.spec

    @property
    def runtime(self) -> str:
        return self._net.runtime

    @property
    def precision(self) -> str:
        return self._net.precision

    @property
    def shapes(self) -> ShapePolicy:
        return self._net.shapes

    def run(self, tensors: Tensors) -> dict[str, Array]:
        seen = _recording.get()
        if seen is None:
            return self._net.run(tensors)
        with seen.span(self._lane, "run", {"takes": _shapes(tensors)}) as span:
            results = self._net.run(tensors)
            span.facts["gives"] = _shapes(results)
        return results

    def begin(self, tensors: Tensors) -> Recurrence:
        seen = _recording.get()
        if seen is None:
            return self._net.begin(tensors)
        with seen.span(self._lane, "begin", {"takes": _shapes(tensors)}):
            walk = self._net.begin(tensors)
        return _SeenRecurrence(self._lane, walk, seen)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._net, name)


class _SeenRecurrence:
    """One utterance's walk through a recurrent net, each step noted down."""

    def __init__(self, lane: str, walk: Recurrence, seen: Recording) -> None:
        self._lane = lane
        self._walk = walk
        self._seen = seen

    def step(self, tensors: Tensors) -> dict[str, Array]:
        with self._seen.span(self._lane, "step"):
            return self._walk.step(tensors)

    def close(self) -> None:
        self._walk.close()


class _SeenBlock:
    """What both kinds of watched block share: all that is not watched is the block's own."""

    def __init__(self, path: str, block: Any) -> None:
        self._path = path
        self._block = block

    def __getattr__(self, name: str) -> Any:
        return getattr(self._block, name)


class _SeenSequence(_SeenBlock):
    """A SequenceBlock whose runs are noted down."""

    def run(self, tensors: Tensors) -> Tensors:
        seen = _recording.get()
        if seen is None:
            return self._block.run(tensors)
        with seen.span(self._path, "run", {UTTERANCE: _utterance(tensors)}) as span:
            results = self._block.run(tensors)
            span.facts["gives"] = _shapes(results)
        return results


class _SeenStreamable(_SeenBlock):
    """A StreamableBlock whose openings and reads are noted down.

    A container's reads are those of the last block inside it, so they are not noted twice.
    """

    def __init__(self, path: str, is_container: bool, block: StreamableBlock) -> None:
        super().__init__(path, block)
        self._is_container = is_container

    def open(self, tensors: Tensors, source: Stream | None) -> Stream:
        seen = _recording.get()
        if seen is None:
            return self._block.open(tensors, source)
        utterance = _utterance(tensors)
        with seen.span(self._path, "open", {UTTERANCE: utterance}):
            if self._is_container:
                return self._block.open(tensors, source)
            if source is not None and MEL in (self._block.consumes or {}) and SAMPLES in self._block.gives:
                source = _Tapped(source, seen.mels.setdefault(utterance, []))
            return _SeenStream(self._path, self._block.open(tensors, source), seen, utterance)


class _SeenStream:
    """A stream whose reads are noted down."""

    def __init__(self, path: str, stream: Stream, seen: Recording, utterance: int) -> None:
        self._path = path
        self._stream = stream
        self._seen = seen
        self._utterance = utterance

    def read(self, steps: int) -> Tensors:
        facts = {UTTERANCE: self._utterance, "asked": steps}
        with self._seen.span(self._path, "read", facts) as span:
            chunk = self._stream.read(steps)
            span.facts["steps"] = length(chunk)
        return chunk

    def close(self) -> None:
        self._stream.close()


class _Tapped:
    """A stream whose mel is kept as it flows by."""

    def __init__(self, stream: Stream, kept: list[Array]) -> None:
        self._stream = stream
        self._kept = kept

    def read(self, steps: int) -> Tensors:
        chunk = self._stream.read(steps)
        self._kept.append(np.array(chunk[MEL]))
        return chunk

    def close(self) -> None:
        self._stream.close()


def _utterance(tensors: Tensors) -> int:
    return int(tensors[UTTERANCE]) if UTTERANCE in tensors else 0


def _shapes(tensors: Tensors) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in tensors.items()}
