"""Work ahead of a listener, in a thread, by a bounded stretch of audio."""

import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator
from typing import Self

from voxstack.core.cancel import CancelScope
from voxstack.core.errors import Cancelled
from voxstack.engine.audio import Audio
from voxstack.engine.playback import Playback

__all__ = ["Speech"]

AHEAD_S = 2.0
"""Seconds of audio made before the listener asks for them."""

STOPPING_S = 5.0
"""How long closing waits for a net run in flight to notice; it takes milliseconds."""


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
        self._work.thread.start()
        # A listener who just forgets the iterator, or a program that ends, must not leave work running:
        # an engine that still computes while the interpreter goes down takes the process with it.
        self._forgotten = weakref.finalize(self, self._work.stop)

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
        self._forgotten()

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
            self._chunks.close()
            over, self._over = self._over, None
            try:
                if over is not None:
                    over()
            finally:
                with self._changed:
                    self._is_over = True
                    self._notify()

    def take(self) -> Audio:
        with self._changed:
            self._changed.wait_for(self._has_news)
            return self._take()

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

    def stop(self) -> None:
        self._scope.cancel()
        self.wake()
        if threading.current_thread() is not self.thread:
            self.thread.join(STOPPING_S)
