"""Run nets for many requests on few cores: the run whose listener runs dry first goes first.

    run ──► urgent, and a core is free ──────────────────────────► in the request's own thread, at once
        ├─► urgent ──► waits ──► the most urgent gets the core that is free next, in its own thread
        └─► patient ──► waits ──► a thread of lower priority, from which the system takes the core as
                                  soon as something urgent starts

A run is patient while its listener has enough to hear. A net's run cannot be interrupted and taken up
again by us, but the system does just that with threads: so a run that takes long, because it makes two
seconds of audio, does not hold up another listener's first word.
"""

import contextvars
import threading
import time
from collections.abc import Generator, Hashable, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from voxstack.core.cancel import CancelScope
from voxstack.core.errors import Cancelled, NetError, VoxstackError
from voxstack.engine.cores import cores
from voxstack.engine.playback import Playback
from voxstack.engine.priority import stand_back

__all__ = ["Lane", "LaneState", "Work", "lane_of"]

ABOUT_TO_RUN_DRY_S = 0.12
"""A listener with less than this is served before a new one: a gap is worse than a first word 30 ms later."""

PATIENT_S = 0.5
"""With so much to hear, a listener does not notice a run that takes several times as long as it could."""

HUNG_S = 60.0
"""A run that takes longer is given up: its listener is told, and others get its core."""

DEVICE_RUNS = 2
"""Runs at a time on a device with its own memory: one computes while another's tensors travel."""


class Work(Protocol):
    """One net run that waits for its turn.

    key    what runs at the same time may have in common, to be run as one batch; None: it runs alone
    most   how many may be run as one
    where  what it is, for messages
    """

    @property
    def key(self) -> Hashable | None: ...
    @property
    def most(self) -> int: ...
    @property
    def where(self) -> str: ...
    def alone(self) -> Any: ...
    def together(self, works: "Sequence[Work]") -> Sequence[Any]:
        """Run works of the same key, this one among them; return what each gives, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class LaneState:
    """What is going on in a lane right now: runs at work, and runs that wait."""

    running: int
    waiting: int


@dataclass(eq=False, slots=True)
class _Run:
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
    fellows: "list[_Run]" = field(default_factory=list["_Run"])
    result: Any = None
    error: BaseException | None = None

    def rank(self, now: float) -> tuple[int, float]:
        """Return what sorts runs, the most urgent first."""
        if self.playback is None:
            return 1, self.came
        dry = self.playback.runs_dry_at()
        if not self.playback.has_begun:
            return 1, dry
        return (0 if dry - now < ABOUT_TO_RUN_DRY_S else 2), dry

    def is_patient(self, now: float) -> bool:
        return self.rank(now) > (2, now + PATIENT_S)

    def give(self, result: Any = None, error: BaseException | None = None) -> None:
        """Let whoever waits for it go on; what comes first counts."""
        if not self.is_over:
            self.is_over = True
            self.result, self.error = result, error
        self.woken.set()


class Lane:
    """The runs of one device: the most urgent first, as many at a time as it has units (cores, say).

    As many again may be at work for patient listeners, in threads from which the others take the cores.
    """

    def __init__(self, units: int, *, name: str = "cpu", hung_s: float = HUNG_S) -> None:
        self.units = units
        self._name = name
        self._hung_s = hung_s
        self._lock = threading.Lock()
        self._patient_came = threading.Condition(self._lock)
        self._waiting: list[_Run] = []
        self._running: set[_Run] = set()
        self._free = units
        self._free_for_patient = units
        self._workers = 0
        self._idle_workers = 0

    @property
    def state(self) -> LaneState:
        with self._lock:
            return LaneState(len(self._running), len(self._waiting))

    def run(self, work: Work, *, threads: int = 1) -> Any:
        """Return what a work gives, run when it is its turn.

        In:       threads  that it keeps busy
        Raises:   what it raises; Cancelled if the current CancelScope is cancelled, while it waits too
        """
        run = _Run(
            work=work,
            threads=max(1, min(threads, self.units)),
            playback=Playback.current(),
            scope=CancelScope.current(),
            context=contextvars.copy_context(),
            came=time.monotonic(),
        )
        self._give_up_hung()
        with self._lock:
            is_alone = self.units > 1 and not self._running and not self._waiting
            self._waiting.append(run)
            if is_alone and run.is_patient(run.came):
                # It spares itself the way to another thread; whoever comes meanwhile finds all units free.
                run.threads = 0
                self._choose(run, run.came)
                self._grant(run)
            self._hand_out()
        if not run.is_granted:
            self._wait(run)
        if run.is_granted:
            try:
                _execute(run)
            finally:
                self._release(run)
        if run.error is not None:
            raise run.error
        return run.result

    def _wait(self, run: _Run) -> None:
        try:
            with ExitStack() as stack:
                if run.scope is not None:
                    stack.enter_context(run.scope.stopping(partial(self._withdraw, run)))
                while not run.woken.wait(self._hung_s):
                    self._give_up_hung()
        except BaseException:  # cancelled before it could wait, or Ctrl-C
            self._withdraw(run)
            if run.is_granted:
                self._release(run)
            raise

    def _withdraw(self, run: _Run) -> None:
        """Let a run go whose stream was closed while it waited."""
        with self._lock:
            if run in self._waiting:
                self._waiting.remove(run)
                run.give(error=Cancelled("the stream was closed"))

    def _grant(self, run: _Run) -> None:
        """Give a run its units: its own thread runs it."""
        run.is_granted = True
        self._free -= run.threads
        self._start(run)
        run.woken.set()

    def _start(self, run: _Run) -> None:
        run.began = time.monotonic()
        self._running.add(run)

    def _release(self, run: _Run) -> None:
        with self._lock:
            if not run.is_lost:
                self._end(run)

    def _end(self, run: _Run) -> None:
        """Take back what a run was given, and hand it out again; the lock is held."""
        self._running.discard(run)
        if run.is_granted:
            self._free += run.threads
        else:
            self._free_for_patient += run.threads
        self._hand_out()

    def _give_up_hung(self) -> None:
        """Let nobody wait any longer for runs that do not end; their threads cannot be freed."""
        with self._lock:
            now = time.monotonic()
            hung = [run for run in self._running if now - run.began > self._hung_s]
            for run in hung:
                run.is_lost = True
                if not run.is_granted:
                    self._workers -= 1
                self._end(run)
        for run in hung:
            error = NetError(f"has not ended after {self._hung_s:g} s and is given up", where=run.work.where)
            for each in (run, *run.fellows):
                each.give(error=error)
                if each.scope is not None:
                    each.scope.cancel()

    def _hand_out(self) -> None:
        """Give free units to the most urgent of those that wait; wake a worker if the rest is patient."""
        now = time.monotonic()
        while self._waiting:
            first = min(self._waiting, key=lambda run: run.rank(now))
            if first.is_patient(now):
                break
            if first.threads > self._free:
                return
            self._choose(first, now)
            self._grant(first)
        if self._waiting and self._idle_workers:
            self._patient_came.notify()
        elif self._waiting and self._workers < self.units:
            self._workers += 1
            threading.Thread(target=self._serve_patient, name=f"voxstack-{self._name}", daemon=True).start()

    def _choose(self, run: _Run, now: float) -> None:
        """Take a run out of those that wait, and its fellows, which are run with it as one batch.

        They are so many that the other cores get their share.
        """
        self._waiting.remove(run)
        key = run.work.key
        if key is None:
            return
        alike = [other for other in self._waiting if other.work.key == key]
        share = -(-(len(alike) + 1) // self.units)
        alike.sort(key=lambda other: other.rank(now))
        run.fellows = alike[: min(share, run.work.most) - 1]
        for fellow in run.fellows:
            self._waiting.remove(fellow)

    def _serve_patient(self) -> None:
        """Run what is patient, in a thread of low priority."""
        stand_back()
        while True:
            with self._lock:
                run = self._next_patient()
            _execute(run)
            if run.is_lost:
                return
            self._release(run)
            del run  # and what it holds of a request that is over

    def _next_patient(self) -> _Run:
        """Wait for a run that is patient, and take it; the lock is held."""
        while True:
            now = time.monotonic()
            patient = [run for run in self._waiting if run.is_patient(now)]
            if patient:
                first = min(patient, key=lambda run: run.rank(now))
                if first.threads <= self._free_for_patient:
                    self._choose(first, now)
                    self._free_for_patient -= first.threads
                    self._start(first)
                    return first
            self._idle_workers += 1
            self._patient_came.wait()
            self._idle_workers -= 1


def _execute(run: _Run) -> None:
    """Run a work, and its fellows with it; each gets what it gave or raised."""
    runs = [run, *run.fellows]
    if len(runs) > 1:
        try:
            with _shared_scope(runs):
                results = run.work.together([each.work for each in runs])
            for each, result in zip(runs, results, strict=True):
                each.give(result)
        except VoxstackError:
            pass  # one of them is at fault, or all were cancelled: each learns it alone
        except BaseException as error:  # noqa: BLE001 - raised again in the requests' own threads
            for each in runs:
                each.give(error=error)
            return
        else:
            return
    for each in runs:
        each.context.run(_alone, each)


def _alone(run: _Run) -> None:
    try:
        result, error = run.work.alone(), None
    except BaseException as raised:  # noqa: BLE001 - raised again in the request's own thread
        result, error = None, raised
    run.give(result, error)


@contextmanager
def _shared_scope(runs: Sequence[_Run]) -> Generator[None, None, None]:
    """Work in a scope that is cancelled when those of all runs are; who is cancelled early goes early."""
    scope, going_on = CancelScope(), set(map(id, runs))

    def leave(run: _Run) -> None:
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


_lanes: dict[str, Lane] = {}
_lock = threading.Lock()


def lane_of(device: str) -> Lane:
    """Return the lane in which everything of this process runs that runs on a device, as profiles name it."""
    name = device.lower()
    with _lock:
        if name not in _lanes:
            _lanes[name] = Lane(cores() if name == "cpu" else DEVICE_RUNS, name=name)
        return _lanes[name]
