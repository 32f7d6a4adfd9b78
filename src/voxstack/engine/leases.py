"""Hold a voice for as long as somebody speaks with it."""

import weakref
from collections.abc import Callable

from voxstack.core.errors import RequestError
from voxstack.engine.places import Version
from voxstack.engine.voice import Voice

__all__ = ["Lease"]


class Lease:
    """The right to speak with a version of a voice, which stays in memory until the last lease is closed.

    Example:
        with voices.lease("joe") as voice: ...
    """

    def __init__(self, version: Version, end: Callable[[], None]) -> None:
        self._voice = version.voice
        self._end = weakref.finalize(self, end)
        self._end.atexit = False

    @property
    def voice(self) -> Voice:
        if self._voice is None:
            raise RequestError("its lease is closed; take another", where="voice")
        return self._voice

    def close(self) -> None:
        """Give the voice back; safe twice."""
        self._voice = None
        self._end()

    def __enter__(self) -> Voice:
        return self.voice

    def __exit__(self, *unused: object) -> None:
        self.close()
