"""Call what is due when its time comes: one thread for all deadlines of a service."""

import heapq
import itertools
import queue
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Deadline", "Deadlines"]


@dataclass(order=True)
class Deadline:
    """A time, on time.monotonic's clock in seconds, and what is called then unless it is dropped before."""

    due_s: float
    number: int
    act: Callable[[], None] | None = field(compare=False)


class Deadlines:
    """Deadlines that come; the thread that waits for the next one starts with the first.

    Its queue never makes anybody wait, so that any thread may drop a deadline, a finalizer's too.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._take_a_queue()

    def _take_a_queue(self) -> None:
        self._asked: queue.SimpleQueue[Deadline | None] = queue.SimpleQueue()
        self._end = weakref.finalize(self, self._asked.put, None)

    def at(self, due_s: float, act: Callable[[], None]) -> Deadline:
        """Call `act`, which must be quick, at a time; return what `drop` takes."""
        with self._lock:
            if self._thread is not None and not self._thread.is_alive():
                # This process is a fork, and the thread may have been about to take the queue's lock: who
                # takes it in a process without that thread is never woken.
                self._end.detach()
                self._take_a_queue()
                self._thread = None
            if self._thread is None:
                self._thread = threading.Thread(
                    target=_wait, args=(self._asked,), name="voxstack-deadlines", daemon=True
                )
                self._thread.start()
        deadline = Deadline(due_s, next(self._numbers), act)
        self._asked.put(deadline)
        return deadline

    def drop(self, deadline: Deadline) -> None:
        """Forget a deadline; safe twice, and after its time."""
        deadline.act = None
        self._asked.put(deadline)

    def close(self) -> None:
        """Forget all deadlines and end the thread; safe twice."""
        self._end()
        if self._thread is not None:
            self._thread.join()


def _wait(asked: "queue.SimpleQueue[Deadline | None]") -> None:
    coming: list[Deadline] = []
    while True:
        try:
            left_s = max(0.0, coming[0].due_s - time.monotonic()) if coming else None
            new = asked.get(timeout=None if left_s is None else min(left_s, threading.TIMEOUT_MAX))
        except queue.Empty:
            if coming[0].due_s <= time.monotonic():
                _act(heapq.heappop(coming))
            continue
        if new is None:
            return
        if new.act is not None:
            heapq.heappush(coming, new)
        elif new in coming:
            coming.remove(new)
            heapq.heapify(coming)


def _act(deadline: Deadline) -> None:
    act, deadline.act = deadline.act, None
    if act is not None:
        act()
