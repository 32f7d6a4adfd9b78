"""Guard state that finalizers change too."""

import threading
from collections import deque
from collections.abc import Callable

__all__ = ["FinalizerLock"]


class FinalizerLock:
    """A lock for state that is also changed when something is forgotten, or in a thread that must not wait.

    The garbage collector calls a finalizer in any thread, at any line, also in one that holds this lock:
    it must not wait for it. So it says what is to be done, and whoever holds the lock does it.

    Example:
        with lock: ...           as any other lock; not twice in one thread
        lock.soon(change)        never waits
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted: deque[Callable[[], None]] = deque()

    def soon(self, change: Callable[[], None]) -> None:
        """Call `change` under the lock: now if it is free, else when its holder lets go."""
        self._wanted.append(change)
        self._tidy()

    def __enter__(self) -> None:
        self._lock.acquire()
        self._do()

    def __exit__(self, *unused: object) -> None:
        self._lock.release()
        self._tidy()

    def _tidy(self) -> None:
        # Asked again after each release: what was wanted in between found the lock taken.
        while self._wanted and self._lock.acquire(blocking=False):
            try:
                self._do()
            finally:
                self._lock.release()

    def _do(self) -> None:
        while self._wanted:
            self._wanted.popleft()()
