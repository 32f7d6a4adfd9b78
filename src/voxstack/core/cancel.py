"""Carry, from whoever closes a stream to the net that is running, the wish to stop."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar

from voxstack.core.errors import Cancelled, VoxstackError

__all__ = ["CancelScope"]

_current: ContextVar["CancelScope | None"] = ContextVar("voxstack_cancel_scope", default=None)


class CancelScope:
    """Everything that runs inside `with scope.active():` stops when `cancel` is called from any thread.

    A runtime asks `CancelScope.current()` and, while its net runs, lends the scope a function that
    stops the engine in flight.
    """

    def __init__(self) -> None:
        # Reentrant: the collector may cancel a scope in a thread that just holds its lock.
        self._lock = threading.RLock()
        self._stops: set[Callable[[], None]] = set()
        self._outer: CancelScope | None = None
        self.is_cancelled = False
        self.why: VoxstackError | None = None

    @staticmethod
    def current() -> "CancelScope | None":
        return _current.get()

    @contextmanager
    def active(self) -> Generator[None, None, None]:
        """Make this the scope that runtimes find."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    @classmethod
    @contextmanager
    def inner(cls) -> Generator["CancelScope", None, None]:
        """Make a scope the current one that is cancelled with the one around it, but not the other way."""
        scope, outer = cls(), cls.current()
        scope._outer = outer
        if outer is None:
            with scope.active():
                yield scope
        else:
            with outer.stopping(scope.cancel), scope.active():
                yield scope

    @property
    def outermost(self) -> "CancelScope":
        """The scope of the whole stream, in which this one was made by `inner`; or this one."""
        scope = self
        while scope._outer is not None:
            scope = scope._outer
        return scope

    def cancel(self, why: VoxstackError | None = None) -> None:
        """Stop what runs now and refuse what comes; safe twice, the first says why.

        In:       why  what a listener is told who has not closed the stream himself: a deadline, say
        """
        with self._lock:
            if not self.is_cancelled:
                self.why = why
            self.is_cancelled = True
            stops = tuple(self._stops)
        for stop in stops:
            stop()

    @contextmanager
    def stopping(self, stop: Callable[[], None]) -> Generator[None, None, None]:
        """Lend the scope a function that stops what runs in this block; raise Cancelled if too late."""
        with self._lock:
            if self.is_cancelled:
                raise Cancelled("the stream was closed")
            self._stops.add(stop)
        try:
            yield
        finally:
            with self._lock:
                self._stops.discard(stop)
