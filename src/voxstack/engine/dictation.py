"""Hand a text that is still being written from one who must not wait to one who waits for it."""

import threading
from collections.abc import Callable

from voxstack.core.text import FLUSH

__all__ = ["Dictation"]

MOST_WAITING = 65_536
"""Characters that may wait to be read."""


class Dictation:
    """An iterator of a text's pieces, which are put in from elsewhere: from an event loop, say.

    What has been put since the reader last asked comes as one piece, so that a text in many small ones
    costs no more than in few; a flush among them keeps its place.

    Example:
        dictation = Dictation()
        speech = service.stream("joe", dictation)
        dictation.put("Hello "); dictation.put("there."); dictation.end()
    """

    def __init__(self, most_waiting: int = MOST_WAITING) -> None:
        self._most_waiting = most_waiting
        self._changed = threading.Condition()
        self._pieces: list[str] = []
        self._waiting = 0
        self._is_over = False
        self._read_told: Callable[[], None] | None = None

    def put(self, piece: str) -> None:
        """Add a piece; FLUSH asks to have all before it spoken now. Never waits; too late, it is dropped."""
        with self._changed:
            if self._is_over or not (piece or piece is FLUSH):
                return
            self._pieces.append(piece)
            self._waiting += len(piece)
            self._changed.notify_all()

    def end(self) -> None:
        """Say that there is no more to come; safe twice."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def close(self) -> None:
        """End it, and drop what was not read."""
        with self._changed:
            self._pieces.clear()
            self._waiting = 0
            self._is_over = True
            self._changed.notify_all()

    @property
    def is_full(self) -> bool:
        """Whether who puts pieces in should wait until some have been read."""
        with self._changed:
            return self._waiting >= self._most_waiting

    @property
    def is_read(self) -> bool:
        """Whether all that was put in has been read."""
        with self._changed:
            return not self._pieces

    def tell(self, read: Callable[[], None]) -> None:
        """Call `read`, which must be quick, in the reader's thread whenever it has read something."""
        self._read_told = read

    def __iter__(self) -> "Dictation":
        return self

    def __next__(self) -> str:
        with self._changed:
            self._changed.wait_for(lambda: self._pieces or self._is_over)
            if not self._pieces:
                raise StopIteration
            piece = self._take()
        if self._read_told is not None:
            self._read_told()
        return piece

    def _take(self) -> str:
        """Return all up to the next flush, or that flush. Called with the lock held."""
        if self._pieces[0] is FLUSH:
            return self._pieces.pop(0)
        stop = next((place for place, piece in enumerate(self._pieces) if piece is FLUSH), len(self._pieces))
        text = "".join(self._pieces[:stop])
        del self._pieces[:stop]
        self._waiting -= len(text)
        return text
