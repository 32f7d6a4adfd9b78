"""Speak one request: utterance after utterance, chunk after chunk, each asked for in time."""

from collections.abc import Generator, Mapping

import numpy as np

from voxstack.core.blocks import Stream, StreamableBlock
from voxstack.core.errors import NetError, RequestError
from voxstack.core.events import ALIGNMENT, Event, listening
from voxstack.core.ports import Array
from voxstack.core.text import Phonemes
from voxstack.engine.audio import Audio
from voxstack.engine.plan import ChunkPlan
from voxstack.engine.sentences import Utterances

__all__ = ["Session"]

ENCODE_NEXT_AFTER_MS = 600
"""Once so much of an utterance is made, the next one is encoded, while the listener hears this one."""


class Session:
    """One request on its way through a wired stack; used from one thread at a time.

    In:       block      gives "samples"
              utterances  what is to be said
              controls    the request's tensors but for ids and utterance number
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

    def chunks(self) -> Generator[Audio, None, None]:
        """Yield the request's audio; raise RequestError if there is nothing to say."""
        try:
            current = self._open_next(wait=True)
            if current is None:
                raise RequestError("there is nothing in it that can be spoken", where="text")
            given = 0
            silence = np.zeros(0, np.float32)
            while current is not None:
                stream, phonemes = current
                span = _span(phonemes)
                following = None
                made = 0
                is_over = False
                while not is_over:
                    size = self._plan.next_samples(
                        given, sample_rate=self._sample_rate, frame_samples=self._frame_samples
                    )
                    with listening(self._noticed):
                        samples = stream.read(size)["samples"]
                    if not np.isfinite(samples).all():
                        raise NetError("the stack gave samples that are not finite; nobody should hear them")
                    made += len(samples)
                    given += len(samples)
                    is_over = len(samples) < size
                    if len(silence):
                        samples, silence = np.concatenate([silence, samples]), silence[:0]
                    if len(samples) or (is_over and self._events):
                        events, self._events = tuple(self._events), []
                        yield Audio(samples, self._sample_rate, span, events)
                    if following is None and made * 1000 >= ENCODE_NEXT_AFTER_MS * self._sample_rate:
                        following = self._encode_ahead()
                self._close(stream)
                if self._failure is not None:
                    raise self._failure
                silence = self._silence(phonemes.pause_ms)
                current = following or self._open_next(wait=False)
                if current is None:
                    # The text is not written yet, or over: whoever waits for it has heard everything.
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
        if event.kind != ALIGNMENT:
            self._events.append(event)

    def _encode_ahead(self) -> tuple[Stream, Phonemes] | None:
        """Open the next utterance if it is there; keep its failure until this one is heard to its end."""
        if self._failure is not None:
            return None
        try:
            return self._open_next(wait=False)
        except Exception as error:  # noqa: BLE001 - raised by chunks, in its turn
            self._failure = error
            return None

    def _open_next(self, *, wait: bool) -> tuple[Stream, Phonemes] | None:
        """Encode the next utterance; return its stream and what it says."""
        with listening(self._noticed):
            phonemes = self._utterances.next(wait=wait)
            if phonemes is None:
                return None
            stream = self._block.open(self._tensors(phonemes), None)
        self._streams.append(stream)
        self._opened += 1
        return stream, phonemes

    def _tensors(self, phonemes: Phonemes) -> dict[str, Array]:
        return {**self._controls, "ids": phonemes.ids, "utterance": np.array(self._opened, np.int64)}

    def _close(self, stream: Stream) -> None:
        stream.close()
        self._streams.remove(stream)

    def _silence(self, pause_ms: int) -> Array:
        speed = float(self._controls.get("speed", 1.0))
        return np.zeros(round(pause_ms / 1000 / speed * self._sample_rate), np.float32)


def _span(phonemes: Phonemes) -> tuple[int, int]:
    if not len(phonemes.spans):
        return 0, 0
    return int(phonemes.spans[:, 0].min()), int(phonemes.spans[:, 1].max())
