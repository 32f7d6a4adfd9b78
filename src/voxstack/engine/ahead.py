"""Work ahead of a listener, in a thread, by a bounded stretch of audio."""

import _thread
import atexit
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Self

from voxstack.core.cancel import CancelScope
from voxstack.core.errors import Cancelled
from voxstack.engine.audio import Audio
from voxstack.engine.playback import Playback
from voxstack.engine.scheduler import give_up_hung

__all__ = ["Speech"]

AHEAD_S = 2.0
"""Seconds of audio made before the listener asks for them."""

STOPPING_S = 5.0
"""How long closing waits for a net run in flight to notice; it takes milliseconds."""

LOOK_S = 1.0
"""How often a listener who waits looks whether what he waits for will ever end."""


class Speech:
    """An iterator of audio chunks that are made in the background; close it to stop the work.

    Example:
        with voice.stream("Hello there.") as speech:
            for chunk in speech: ...

    In:       playback  is told what was taken
              scope     who cancels it from elsewhere says why: that is what the listener's next call raises
              over      is called once, when all work is done or stopped, in the thread that did it
    """

    def __init__(
        self,
        chunks: Generator[Audio, None, None],
        playback: Playback,
        *,
        ahead_s: float = AHEAD_S,
        scope: CancelScope | None = None,
        over: Callable[[], None] | None = None,
    ) -> None:
        self._work = _Work(chunks, playback, ahead_s, scope or CancelScope(), over)
        self._work.start()
        # A listener who just forgets the iterator must not leave work running.
        self._forgotten = weakref.finalize(self, _stop_elsewhere, self._work)
        self._forgotten.atexit = False

    def __iter__(self) -> "Speech":
        return self

    def __next__(self) -> Audio:
        return self._work.take()

    def take_ready(self) -> Audio | None:
        """Return the next chunk if it is made, None if it is not yet; raise as `next` does. Never waits.

        For who must not wait in a thread: `tell` says when to ask again.
        """
        return self._work.take_ready()

    @property
    def has_news(self) -> bool:
        """Whether there is something to take now: a chunk, the end, or an error."""
        return self._work.has_news()

    @property
    def waits_for_text(self) -> bool:
        """Whether all was taken that the text has by now, and more of it may come."""
        return self._work.waits_for_text()

    def tell(self, ready: Callable[[], None]) -> None:
        """Call `ready`, which must be quick, now and whenever there may be something new to take.

        It is called from any thread, and may be called once too often.
        """
        self._work.tell(ready)

    def close(self) -> None:
        """Stop the work at once, a net run in flight too, and free everything; safe twice."""
        self._forgotten.detach()
        self._work.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()


class _Work:
    """What a Speech and its thread share."""

    def __init__(
        self,
        chunks: Generator[Audio, None, None],
        playback: Playback,
        ahead_s: float,
        scope: CancelScope,
        over: Callable[[], None] | None,
    ) -> None:
        self._chunks = chunks
        self._playback = playback
        self._ahead_s = ahead_s
        self._scope = scope
        self._over = over
        self._changed = threading.Condition()
        self._ready: deque[Audio] = deque()
        self._ready_s = 0.0
        self._is_over = False
        self._is_told = False
        self._error: BaseException | None = None
        self._ready_told: Callable[[], None] | None = None
        self.thread = threading.Thread(target=self.run, name="voxstack-speech", daemon=True)

    def start(self) -> None:
        _at_work.add(self)
        try:
            self.thread.start()
        except BaseException:
            _at_work.discard(self)
            raise

    def run(self) -> None:
        try:
            with self._scope.stopping(self.wake), self._scope.active():
                for chunk in self._chunks:
                    with self._changed:
                        self._ready.append(chunk)
                        self._ready_s += chunk.duration_s
                        self._notify()
                        self._changed.wait_for(
                            lambda: self._ready_s < self._ahead_s or self._scope.is_cancelled
                        )
                    if self._scope.is_cancelled:
                        break
        except Cancelled:
            pass
        except BaseException as error:  # noqa: BLE001 - the listener's thread raises it
            self._error = error
        finally:
            self._end()

    def _end(self) -> None:
        """Free what the work held and say that it is over, whatever goes wrong with that."""
        try:
            self._chunks.close()
        except BaseException as error:  # noqa: BLE001 - the listener's thread raises it
            self._error = self._error or error
        over, self._over = self._over, None
        try:
            if over is not None:
                over()
        finally:
            _at_work.discard(self)
            with self._changed:
                self._is_over = True
                self._notify()

    def take(self) -> Audio:
        while True:
            with self._changed:
                if self._changed.wait_for(self._has_news, LOOK_S):
                    return self._take()
            give_up_hung()

    def take_ready(self) -> Audio | None:
        with self._changed:
            return self._take() if self._has_news() else None

    def has_news(self) -> bool:
        with self._changed:
            return self._has_news()

    def waits_for_text(self) -> bool:
        with self._changed:
            return self._playback.has_all and not self._has_news()

    def tell(self, ready: Callable[[], None]) -> None:
        with self._changed:
            self._ready_told = ready
        ready()

    def _has_news(self) -> bool:
        return bool(self._ready) or self._is_over or self._scope.is_cancelled

    def _take(self) -> Audio:
        """Return the next chunk; there is one, or a reason why there is none. Called with the lock held."""
        if self._scope.is_cancelled:
            is_told, self._is_told = self._is_told, True
            if self._scope.why is not None and not is_told:
                raise self._scope.why
            raise StopIteration
        if self._ready:
            chunk = self._ready.popleft()
            self._ready_s -= chunk.duration_s
            self._playback.took(chunk.duration_s)
            self._changed.notify_all()
            return chunk
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        raise StopIteration

    def _notify(self) -> None:
        self._changed.notify_all()
        if self._ready_told is not None:
            self._ready_told()

    def wake(self) -> None:
        """Drop what is made and wake who waits, once the scope is cancelled."""
        with self._changed:
            self._ready.clear()
            self._notify()

    def cancel(self) -> None:
        self._scope.cancel()
        self.wake()

    def stop(self) -> None:
        self.cancel()
        if threading.current_thread() is not self.thread:
            self.thread.join(STOPPING_S)


_at_work: set[_Work] = set()


def _stop_elsewhere(work: _Work) -> None:
    """Stop the work of a stream that is forgotten, in another thread.

    The garbage collector notices that in any thread, at any line, also in one that holds a lock which
    stopping takes. What starts the thread takes none itself.
    """
    with suppress(RuntimeError):  # there are no more threads: it stops once it is ahead, and with the program
        _thread.start_new_thread(work.cancel, ())


def _stop_all() -> None:
    """Stop what is at work when the program ends."""
    works = tuple(_at_work)
    for work in works:
        work.cancel()
    until = time.monotonic() + STOPPING_S
    for work in works:
        work.thread.join(max(0.0, until - time.monotonic()))


atexit.register(_stop_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_at_work.clear)
