"""Serve many listeners with many voices: what every server stands on, whatever it speaks to its clients."""

import time
from collections.abc import Hashable, Iterable
from functools import partial
from typing import Self

from voxstack.core.errors import BusyError, Cancelled
from voxstack.engine.admission import LEAST_S, Admission
from voxstack.engine.ahead import STOPPING_S, Speech
from voxstack.engine.audio import Audio
from voxstack.engine.deadlines import Deadlines
from voxstack.engine.finalizing import FinalizerLock
from voxstack.engine.marks import Marks
from voxstack.engine.playback import Playback
from voxstack.engine.request import Request
from voxstack.engine.voices import Voices

__all__ = ["Service"]

STREAMS = 64
"""Requests at work at a time, where nobody says how many."""

DRAIN_S = 10.0
"""How long requests may end by themselves when a service closes."""


class Service:
    """Voices, and who may use them: each request holds a lease and a place until its work is over.

    Its work is over when all its audio is made, when it fails, when its deadline comes, when it is closed,
    and when it is forgotten.

    Example:
        service = Service(Voices(["addons"]), Admission(streams=32))
        with service.stream("joe", "Hello there.", deadline_s=20) as speech:
            for chunk in speech: ...
    """

    def __init__(self, voices: Voices, admission: Admission | None = None) -> None:
        self.voices = voices
        self.admission = admission or Admission(STREAMS)
        self._deadlines = Deadlines()
        self._lock = FinalizerLock()
        self._requests: set[Request] = set()
        self._is_closing = False

    def stream(
        self,
        voice: str,
        text: str | Iterable[str],
        *,
        deadline_s: float | None = None,
        client: Hashable | None = None,
        marks: Marks = (),
        **controls: float | str,
    ) -> Speech:
        """Return an iterator of audio chunks, as `Voice.stream` does; the voice is loaded if need be.

        In:       deadline_s  seconds from now in which all its audio must be made, else it is stopped and
                              the listener's next call raises DeadlineError
                  client      who asks, where admission bounds what one client may have
                  marks       kinds of marks that chunks shall have
        Raises:   BusyError if there is no room now; RequestError as `Voice.stream` does
        """
        request = self._begin(voice, text, deadline_s, client)
        try:
            playback = Playback(is_ahead=True)
            chunks = request.chunks(
                request.voice(self.voices), text, controls, playback=playback, marks=marks
            )
            return Speech(chunks, playback, scope=request.scope, over=request.end)
        except BaseException:
            request.end()
            raise

    def say(
        self,
        voice: str,
        text: str,
        *,
        deadline_s: float | None = None,
        client: Hashable | None = None,
        marks: Marks = (),
        **controls: float | str,
    ) -> Audio:
        """Return the audio of a text, as `Voice.say` does, in the caller's thread; the rest as `stream`."""
        request = self._begin(voice, text, deadline_s, client)
        try:
            speaker = request.voice(self.voices)
            with request.scope.active():
                chunks = request.chunks(speaker, text, controls, marks=marks)
                return Audio.joined(chunks, speaker.sample_rate)
        except Cancelled as error:
            raise request.scope.why or error from None
        finally:
            request.end()

    @property
    def at_work(self) -> int:
        """Requests that are not over."""
        with self._lock:
            return len(self._requests)

    def close(self, *, drain_s: float = DRAIN_S) -> int:
        """Take no new requests, let those at work end, stop those that have not after `drain_s`.

        The listeners of those get `Cancelled`. Then the voices are unloaded; safe twice. Return how many
        were stopped.
        """
        with self._lock:
            self._is_closing = True
            requests = tuple(self._requests)
        until = time.monotonic() + drain_s
        for request in requests:
            request.over.wait(max(0.0, until - time.monotonic()))
        stopped = [request for request in requests if not request.over.is_set()]
        for request in stopped:
            request.scope.cancel(Cancelled("the service was closed before it had spoken", where=request.name))
        until = time.monotonic() + STOPPING_S
        for request in stopped:
            request.over.wait(max(0.0, until - time.monotonic()))
        self._deadlines.close()
        self.voices.close()
        return len(stopped)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def _begin(
        self, voice: str, text: str | Iterable[str], deadline_s: float | None, client: Hashable | None
    ) -> Request:
        """Admit a request; what it holds already is given back if it is refused further on."""
        request = Request(voice, text, self._ended)
        with self._lock:
            if self._is_closing:
                raise BusyError(
                    "it is closing and takes no new requests", where="service", retry_after_s=LEAST_S
                )
            self._requests.add(request)
        try:
            request.hold(self.admission.admit(request.characters, client=client))
            request.be_due(deadline_s, self._deadlines)
        except BaseException:
            request.end()
            raise
        return request

    def _ended(self, request: Request) -> None:
        self._lock.soon(partial(self._requests.discard, request))
