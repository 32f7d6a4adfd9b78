"""Know when a request's listener runs dry: the moment by which its next audio must be there."""

import math
import time
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["Playback"]

_current: ContextVar["Playback | None"] = ContextVar("voxstack_playback", default=None)


class Playback:
    """Who hears a request, and plays what it has taken as it comes.

    Times are those of `time.monotonic`. What is made and not taken yet waits for the listener, who may
    be slow, or have stopped reading; it does not run dry while something waits.

    In:       is_ahead  whether somebody works ahead of it, and says what it has taken; else it takes
                        each chunk as it is made

    has_all  whether all was made for it that its text has by now
    """

    def __init__(self, *, is_ahead: bool = False) -> None:
        self.is_ahead = is_ahead
        self.has_all = False
        self._asked = time.monotonic()
        self._plays_until: float | None = None
        # Each has one writer, who makes and who takes, so that neither needs a lock.
        self._made_s = 0.0
        self._taken_s = 0.0

    @classmethod
    def nobody(cls) -> "Playback":
        """Return one for work that nobody waits for: all other work goes first."""
        playback = cls()
        playback._plays_until = math.inf
        return playback

    @staticmethod
    def current() -> "Playback | None":
        """Return the one for whom this context works."""
        return _current.get()

    @contextmanager
    def active(self) -> Generator[None, None, None]:
        """Work for this listener."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    @property
    def has_begun(self) -> bool:
        """Whether something was made for it since it last had to wait for its text."""
        return self._plays_until is not None or self._waiting_s > 0

    @property
    def _waiting_s(self) -> float:
        return max(self._made_s - self._taken_s, 0.0)

    def begin(self) -> None:
        """Wait for a first chunk from now on, unless there is still something to hear."""
        now = time.monotonic()
        if not self._waiting_s and (self._plays_until or now) <= now:
            self._asked = now
            self._plays_until = None

    def made(self, audio_s: float) -> None:
        """So much audio was made for it."""
        self.has_all = False
        if self.is_ahead:
            self._made_s += audio_s
        else:
            self._play(audio_s)

    def took(self, audio_s: float) -> None:
        """It has taken so much of what waited."""
        self._taken_s += audio_s
        self._play(audio_s)

    def runs_dry_at(self) -> float:
        """Return when it has played all that was made; before its first chunk, when it began to wait."""
        waiting_s, until = self._waiting_s, self._plays_until
        if not waiting_s:
            return self._asked if until is None else until
        now = time.monotonic()
        return max(until or now, now) + waiting_s

    def _play(self, audio_s: float) -> None:
        now = time.monotonic()
        self._plays_until = max(self._plays_until or now, now) + audio_s
