"""Say what one net run is while it waits for its turn: for whom, how urgent, with whom it may be run."""

import contextvars
import math
import threading
import time
from collections.abc import Callable, Generator, Hashable, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from voxstack.core.cancel import CancelScope
from voxstack.core.errors import Cancelled, VoxstackError
from voxstack.engine.playback import Playback

__all__ = ["Run", "Work", "execute"]

ABOUT_TO_RUN_DRY_S = 0.12
"""A listener with less than this is served before a new one: a gap is worse than a first word 30 ms later."""

PATIENT_S = 0.5
"""With so much to hear, a listener does not notice a run that takes several times as long as it could."""


LOOK_AGAIN_S = 0.01
"""After the moment at which a run turns urgent, so that it has."""


class Work(Protocol):
    """One net run that waits for its turn.

    key             what runs at the same time may have in common, to be run as one batch; None: it runs alone
    most            how many may be run as one
    where           what it is, for messages
    can_stand_back  whether it computes in the thread that runs it, so that its priority is that thread's
    """

    @property
    def key(self) -> Hashable | None: ...
    @property
    def most(self) -> int: ...
    @property
    def where(self) -> str: ...
    @property
    def can_stand_back(self) -> bool: ...
    def alone(self) -> Any: ...
    def together(self, works: "Sequence[Work]") -> Sequence[Any]:
        """Run works of the same key, this one among them; return what each gives, in their order."""
        ...


@dataclass(eq=False, slots=True)
class Run:
    """A work with whom it is for, and what became of it."""

    work: Work
    threads: int
    playback: Playback | None
    scope: CancelScope | None
    context: contextvars.Context
    came: float
    woken: threading.Event = field(default_factory=threading.Event)
    began: float = 0.0
    is_granted: bool = False
    is_over: bool = False
    is_lost: bool = False
    goes_alone: bool = False
    fellows: "list[Run]" = field(default_factory=list["Run"])
    result: Any = None
    error: BaseException | None = None

    @property
    def key(self) -> Hashable | None:
        """What it has in common with those it may be run with; None once such a batch has failed."""
        return None if self.goes_alone else self.work.key

    def rank(self, now: float) -> tuple[int, float]:
        """Return what sorts runs, the most urgent first."""
        if self.playback is None:
            return 1, self.came
        dry = self.playback.runs_dry_at()
        if not self.playback.has_begun:
            return 1, dry
        return (0 if dry - now < ABOUT_TO_RUN_DRY_S else 2), dry

    def is_patient(self, now: float) -> bool:
        """Whether it can be at work in a thread that stands back."""
        return self.work.can_stand_back and self.rank(now) > (2, now + PATIENT_S)

    def turns_urgent_in(self) -> float:
        """Return the seconds for which it is patient, as things are; infinite for what is urgent already."""
        now = time.monotonic()
        if not self.is_patient(now):
            return math.inf
        return self.rank(now)[1] - PATIENT_S - now + LOOK_AGAIN_S

    def give(self, result: Any = None, error: BaseException | None = None) -> None:
        """Let whoever waits for it go on; what comes first counts."""
        if not self.is_over:
            self.is_over = True
            self.result, self.error = result, error
        self.woken.set()


def execute(run: Run, part: Callable[[Run], None]) -> None:
    """Run a work, and its fellows with it; each gets what it gave or raised.

    In:       part  puts a run's fellows back in line, each to be run alone: one of the batch failed, and who
                    is at fault, or what else becomes of that one, is nothing to the others
    """
    if run.fellows:
        runs = [run, *run.fellows]
        try:
            with _shared_scope(runs):
                results = run.work.together([each.work for each in runs])
        except VoxstackError:
            part(run)
        except BaseException as error:  # noqa: BLE001 - raised again in the requests' own threads
            for each in runs:
                each.give(error=error)
            return
        else:
            for each, result in zip(runs, results, strict=True):
                each.give(result)
            return
    run.context.run(_alone, run)


def _alone(run: Run) -> None:
    try:
        result, error = run.work.alone(), None
    except BaseException as raised:  # noqa: BLE001 - raised again in the request's own thread
        result, error = None, raised
    run.give(result, error)


@contextmanager
def _shared_scope(runs: Sequence[Run]) -> Generator[None, None, None]:
    """Work in a scope that is cancelled when those of all runs are; who is cancelled early goes early."""
    scope, going_on = CancelScope(), set(map(id, runs))

    def leave(run: Run) -> None:
        run.give(error=Cancelled("the stream was closed"))
        going_on.discard(id(run))
        if not going_on:
            scope.cancel()

    with ExitStack() as stack:
        for run in runs:
            if run.scope is not None:
                stack.enter_context(run.scope.stopping(partial(leave, run)))
        stack.enter_context(scope.active())
        yield
