"""Run SequenceBlocks at the same time, each in a thread of its own, as soon as it has what it takes."""

import contextvars
import threading
from collections.abc import Sequence

from voxstack.core.blocks import SequenceBlock
from voxstack.core.cancel import CancelScope
from voxstack.core.errors import Cancelled
from voxstack.core.ports import Array, Tensors
from voxstack.core.together import waits

__all__ = ["MOST_THREADS", "at_once"]

MOST_THREADS = 8
"""How many blocks of one utterance run at a time; an addon may have any number of them."""


def at_once(blocks: Sequence[SequenceBlock], tensors: Tensors) -> dict[str, Array]:
    """Run blocks, together those that do not wait for each other; return what was known and they gave.

    No thread is left when it returns. Each runs in a copy of the caller's context, so that it is heard by
    who listens there, in any order. A block alone, with nothing beside it, runs in the caller's thread.

    In:       blocks  each after those whose results it takes
    Raises:   what the first block to fail raised; the others were stopped. Cancelled if the stream was closed
    """
    with CancelScope.inner() as scope:
        work = _Work(blocks, tensors, scope)
        work.run()
    return work.result()


class _Work:
    """What the caller and the threads of one utterance share."""

    def __init__(self, blocks: Sequence[SequenceBlock], tensors: Tensors, scope: CancelScope) -> None:
        self._blocks = blocks
        self._tensors = tensors
        self._scope = scope
        self._waits = waits(blocks)
        self._changed = threading.Condition()
        self._waiting = list(range(len(blocks)))
        self._running = 0
        self._is_alone = False
        self._given: dict[int, Tensors] = {}
        self._failure: BaseException | None = None

    def run(self) -> None:
        """Run all blocks, or as many as there are before one fails or the scope is cancelled."""
        threads: list[threading.Thread] = []
        try:
            while places := self._take_ready():
                if self._is_alone:
                    self._run_block(places[0])
                    continue
                for place in places:
                    context = contextvars.copy_context()
                    thread = threading.Thread(
                        target=context.run,
                        args=(self._run_block, place),
                        name=f"voxstack-block-{place}",
                        daemon=True,
                    )
                    thread.start()
                    threads.append(thread)
        except BaseException:  # Ctrl-C while it waits, or a machine that has no more threads
            self._scope.cancel()
            raise
        finally:
            for thread in threads:
                thread.join()

    def result(self) -> dict[str, Array]:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        if self._waiting:
            raise Cancelled("the stream was closed")
        known = dict(self._tensors)
        for place in range(len(self._blocks)):
            known |= self._given[place]
        return known

    def _take_ready(self) -> list[int]:
        """Wait until a block can start; return those that can, none when all is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready() or not self._running)
            places = self._ready()
            self._waiting = [place for place in self._waiting if place not in places]
            self._running += len(places)
            self._is_alone = self._running == 1
            return places

    def _ready(self) -> list[int]:
        if self._failure is not None or self._scope.is_cancelled:
            return []
        able = [place for place in self._waiting if self._waits[place] <= self._given.keys()]
        return able[: MOST_THREADS - self._running]

    def _run_block(self, place: int) -> None:
        known = dict(self._tensors)
        for before in self._waits[place]:
            known |= self._given[before]
        failure, given = None, None
        try:
            given = self._blocks[place].run(known)
        except BaseException as error:  # noqa: BLE001 - the caller's thread raises it
            failure = error
        with self._changed:
            if given is not None:
                self._given[place] = given
            elif self._failure is None:
                self._failure = failure
            self._running -= 1
            self._changed.notify_all()
        if failure is not None:
            self._scope.cancel()
