"""Hold what one request needs while it is at work, and give all of it back when its work is over."""

import math
import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack

from voxstack.core.cancel import CancelScope
from voxstack.core.errors import Cancelled, DeadlineError, RequestError
from voxstack.engine.admission import Ticket
from voxstack.engine.audio import Audio
from voxstack.engine.deadlines import Deadlines
from voxstack.engine.marks import Marks
from voxstack.engine.playback import Playback
from voxstack.engine.voice import Voice
from voxstack.engine.voices import Voices

__all__ = ["Request"]


class Request:
    """One request of a service, from its arrival until its work is over.

    scope  stops its work; says why
    over   is set when all that it held is given back
    ended  is called with it shortly before
    """

    def __init__(self, voice: str, text: str | Iterable[str], ended: "Callable[[Request], None]") -> None:
        self.name = voice
        self.scope = CancelScope()
        self.over = threading.Event()
        self.made_s = 0.0
        self._arrived_s = time.monotonic()
        self._deadline_s: float | None = None
        self._characters = len(text) if isinstance(text, str) else None
        self._spoken = 0
        self._ticket: Ticket | None = None
        self._held = ExitStack()
        self._held.callback(ended, self)

    @property
    def characters(self) -> int:
        """How many its text has, as far as that is known at its arrival."""
        return self._characters or 0

    def hold(self, ticket: Ticket) -> None:
        """Keep its admission."""
        self._ticket = ticket
        self._held.callback(ticket.close)

    def be_due(self, deadline_s: float | None, deadlines: Deadlines) -> None:
        """Stop its work so many seconds after its arrival; raise RequestError if that is no time."""
        if deadline_s is None:
            return
        if not (math.isfinite(deadline_s) and deadline_s > 0):
            raise RequestError(f"got {deadline_s!r}, want seconds above 0", where="deadline_s")
        self._deadline_s = deadline_s
        deadline = deadlines.at(self._arrived_s + deadline_s, self._expire)
        self._held.callback(deadlines.drop, deadline)

    def voice(self, voices: Voices) -> Voice:
        """Return its voice, held until its work is over."""
        left_s = None
        if self._deadline_s is not None:
            left_s = max(0.0, self._arrived_s + self._deadline_s - time.monotonic())
        try:
            lease = voices.lease(self.name, timeout_s=left_s)
        except DeadlineError:
            raise self._late() from None
        self._held.callback(lease.close)
        return lease.voice

    def chunks(
        self,
        voice: Voice,
        text: str | Iterable[str],
        controls: dict[str, float | str],
        *,
        playback: Playback | None = None,
        marks: Marks = (),
    ) -> Generator[Audio, None, None]:
        """Return its audio in chunks, counted as they are made; raise RequestError for wrong controls.

        In:       playback  of who listens while it is made; None: nobody does
        """
        is_stream = playback is not None
        return self._counted(
            voice.answer(text, controls, is_stream=is_stream, playback=playback, marks=marks)
        )

    def end(self) -> None:
        """Give all back; safe twice. Waits for nobody, so that any thread may be the one that ends it."""
        self._held.close()
        self.over.set()

    def _counted(self, chunks: Generator[Audio, None, None]) -> Generator[Audio, None, None]:
        try:
            for chunk in chunks:
                self.made_s += chunk.duration_s
                self._speak(chunk.span[0])
                yield chunk
                if self.scope.is_cancelled:
                    raise Cancelled("the stream was closed")
        finally:
            chunks.close()

    def _speak(self, start: int) -> None:
        """Take what stands before an utterance out of the queue of text."""
        new, self._spoken = start - self._spoken, max(start, self._spoken)
        if new > 0 and self._ticket is not None:
            self._ticket.spoken(new)

    def _expire(self) -> None:
        self.scope.cancel(self._late())

    def _late(self) -> DeadlineError:
        of = "" if self._characters is None else f" of {self._characters}"
        return DeadlineError(
            f"its {self._deadline_s:g} s are over; made by then: {self.made_s:.2f} s of audio, "
            f"the first {self._spoken}{of} characters and part of the next sentence",
            made_s=self.made_s,
            where=self.name,
        )
