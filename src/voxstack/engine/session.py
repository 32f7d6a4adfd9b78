"""Speak one request: utterance after utterance, chunk after chunk, each asked for in time."""

from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import numpy as np

from voxstack.core.blocks import Stream, StreamableBlock
from voxstack.core.errors import NetError, RequestError, TooLongError
from voxstack.core.events import Event, listening
from voxstack.core.ports import Array
from voxstack.core.text import Phonemes
from voxstack.core.together import running_by
from voxstack.engine.audio import Audio
from voxstack.engine.fitting import Utterance
from voxstack.engine.marking import Marker, Marking
from voxstack.engine.marks import Mark
from voxstack.engine.plan import ChunkPlan
from voxstack.engine.playback import Playback
from voxstack.engine.sentences import Utterances
from voxstack.engine.threads import at_once

__all__ = ["Session"]

ENCODE_NEXT_AFTER_MS = 600
"""Once so much of an utterance is made, the next one is encoded, while the listener hears this one."""


class _Open(NamedTuple):
    """An utterance that is being made, and what marks it, if the request wants marks."""

    stream: Stream
    utterance: Utterance
    marker: Marker | None


class Session:
    """One request on its way through a wired stack; used from one thread at a time.

    In:       block      gives "samples"
              utterances  what is to be said
              controls    the request's tensors but for ids and utterance number
              playback    for whom it is; None: one who takes each chunk at once
              marking     the marks that it asks for; None: none
    """

    def __init__(
        self,
        block: StreamableBlock,
        utterances: Utterances,
        controls: Mapping[str, Array],
        *,
        sample_rate: int,
        frame_samples: int,
        plan: ChunkPlan,
        playback: Playback | None = None,
        marking: Marking | None = None,
    ) -> None:
        self._block = block
        self._utterances = utterances
        self._controls = controls
        self._sample_rate = sample_rate
        self._frame_samples = frame_samples
        self._plan = plan
        self._opened = 0
        self._failure: Exception | None = None
        self._streams: list[Stream] = []
        self._events: list[Event] = []
        self._playback = playback or Playback()
        self._marking = marking
        self._marked_to = -1

    @property
    def seed(self) -> int:
        """What its noise is drawn from."""
        return int(self._controls.get("seed", 0))

    def chunks(self) -> Generator[Audio, None, None]:
        """Yield the request's audio; raise RequestError if there is nothing to say."""
        try:
            current = self._open_next(wait=True)
            if current is None:
                raise RequestError("there is nothing in it that can be spoken", where="text")
            given = told = 0
            silence = np.zeros(0, np.float32)
            while current is not None:
                following = None
                made = 0
                is_over = False
                while not is_over:
                    size = self._plan.next_samples(
                        given, sample_rate=self._sample_rate, frame_samples=self._frame_samples
                    )
                    current, samples = self._read(current, size, is_first=not made)
                    made += len(samples)
                    given += len(samples)
                    is_over = len(samples) < size
                    if current.marker is not None:
                        current.marker.begin(told + len(silence))
                    if len(silence):
                        samples, silence = np.concatenate([silence, samples]), silence[:0]
                    told += len(samples)
                    marks = self._marks(current.marker, told, is_over=is_over)
                    if len(samples) or (is_over and (self._events or marks)):
                        events, self._events = tuple(self._events), []
                        chunk = Audio(samples, self._sample_rate, _span(current.utterance), events, marks)
                        self._playback.made(chunk.duration_s)
                        yield chunk
                    if following is None and made * 1000 >= ENCODE_NEXT_AFTER_MS * self._sample_rate:
                        following = self._encode_ahead()
                self._close(current.stream)
                if self._failure is not None:
                    raise self._failure
                silence = self._silence(current.utterance.pause_ms)
                current = following or self._open_next(wait=False)
                if current is None:
                    # The text is not written yet, or over: whoever waits for it has heard everything.
                    self._playback.has_all = True
                    current, given = self._open_next(wait=True), 0
        finally:
            self.close()

    def close(self) -> None:
        """Free all streams; safe twice."""
        self._utterances.close()
        while self._streams:
            self._streams.pop().close()

    def _noticed(self, event: Event) -> None:
        """Keep what a block noticed for the next chunk; data is for those who listen themselves."""
        if not event.is_data:
            self._events.append(event)

    def _marks(self, marker: Marker | None, until: int, *, is_over: bool) -> tuple[Mark, ...]:
        """Return the marks up to a sample of the request; a sentence is marked with its first part."""
        if marker is None:
            return ()
        is_new = marker.sentence > self._marked_to
        marks = marker.take(until, is_over=is_over, marks_sentence=is_new)
        if marks:
            self._marked_to = marker.sentence
        return marks

    def _read(self, current: _Open, size: int, *, is_first: bool) -> tuple[_Open, Array]:
        """Read on in an utterance; return it and its samples.

        Some nets see only now how long it is. If it is too long, nobody has heard any of it: it is said
        in parts, of which the first takes its place.
        """
        while True:
            stream, utterance, marker = current
            noticed = len(self._events)
            try:
                with listening(self._noticed), _hearing(marker), self._playback.active():
                    samples = stream.read(size)["samples"]
            except TooLongError as error:
                if not is_first:
                    raise
                del self._events[noticed:]
                self._close(stream)
                self._utterances.split(utterance, error)
                part = self._open_next(wait=False)
                assert part is not None
                current = part
                continue
            if not np.isfinite(samples).all():
                found = "".join(f"; {event.text}" for event in self._events if event.text)
                raise NetError(f"the stack gave samples that are not finite; nobody should hear them{found}")
            return current, samples

    def _encode_ahead(self) -> _Open | None:
        """Open the next utterance if it is there; keep its failure until this one is heard to its end."""
        if self._failure is not None:
            return None
        try:
            return self._open_next(wait=False)
        except Exception as error:  # noqa: BLE001 - raised by chunks, in its turn
            self._failure = error
            return None

    def _open_next(self, *, wait: bool) -> _Open | None:
        """Encode the next utterance, or the first part of one that is too long; return it as a stream."""
        while True:
            with listening(self._noticed):
                utterance = self._utterances.next(wait=wait)
                if utterance is None:
                    return None
                marker = None if self._marking is None else self._marking.marker(utterance)
                noticed = len(self._events)
                try:
                    if wait:
                        self._playback.begin()
                    with running_by(at_once), _hearing(marker), self._playback.active():
                        stream = self._block.open(self._tensors(utterance), None)
                except TooLongError as error:
                    del self._events[noticed:]
                    self._utterances.split(utterance, error)
                    continue
            self._streams.append(stream)
            self._opened += 1
            return _Open(stream, utterance, marker)

    def _tensors(self, phonemes: Phonemes) -> dict[str, Array]:
        return {**self._controls, "ids": phonemes.ids, "utterance": np.array(self._opened, np.int64)}

    def _close(self, stream: Stream) -> None:
        stream.close()
        self._streams.remove(stream)

    def _silence(self, pause_ms: int) -> Array:
        speed = float(self._controls.get("speed", 1.0))
        return np.zeros(round(pause_ms / 1000 / speed * self._sample_rate), np.float32)


def _hearing(marker: Marker | None) -> AbstractContextManager[None]:
    return nullcontext() if marker is None else listening(marker.hear)


def _span(phonemes: Phonemes) -> tuple[int, int]:
    if not len(phonemes.spans):
        return 0, 0
    return int(phonemes.spans[:, 0].min()), int(phonemes.spans[:, 1].max())
