"""Run nets for many requests on few cores: the run whose listener runs dry first goes first.

    run ──► urgent, and a core is free ──────────────────────────► in the request's own thread, at once
        ├─► urgent ──► waits ──► the most urgent gets the core that is free next, in its own thread
        └─► patient ──► waits ──► a thread of lower priority, from which the system takes the core as
                                  soon as something urgent starts

A run is patient while its listener has enough to hear. A net's run cannot be interrupted and taken up
again by us, but the system does just that with threads: so a run that takes long, because it makes two
seconds of audio, does not hold up another listener's first word.
"""

import atexit
import contextvars
import os
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from voxstack.core.cancel import CancelScope
from voxstack.core.errors import Cancelled, NetError
from voxstack.engine.cores import cores
from voxstack.engine.playback import Playback
from voxstack.engine.priority import stand_back
from voxstack.engine.runs import Run, Work, execute
from voxstack.engine.turns import Turns

__all__ = ["Lane", "LaneState", "give_up_hung", "lane_of"]

HUNG_S = 60.0
"""A run that takes longer is given up: its listener is told, and others get its core."""

ENDING_S = 5.0
"""How long a program that ends waits for runs in flight to notice; it takes milliseconds."""

ENDING = "the program ends"

DEVICE_RUNS = 2
"""Runs at a time on a device with its own memory: one computes while another's tensors travel."""


@dataclass(frozen=True, slots=True)
class LaneState:
    """What is going on in a lane right now: runs at work, and runs that wait."""

    running: int
    waiting: int


class Lane:
    """The runs of one device: the most urgent first, as many at a time as it has units (cores, say).

    As many again may be at work for patient listeners, in threads from which the others take the cores.
    """

    def __init__(self, units: int, *, name: str = "cpu", hung_s: float = HUNG_S) -> None:
        self.units = units
        self._name = name
        self._hung_s = hung_s
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget all runs and threads: they are not those of this process, which was forked just now."""
        self._lock = threading.Lock()
        self._patient_came = threading.Condition(self._lock)
        self._turns = Turns(self.units)
        self._workers = 0
        self._idle_workers = 0
        self._is_closed = False

    @property
    def state(self) -> LaneState:
        with self._lock:
            return LaneState(len(self._turns.running), len(self._turns.waiting))

    def run(self, work: Work, *, threads: int = 1) -> Any:
        """Return what a work gives, run when it is its turn.

        In:       threads  that it keeps busy
        Raises:   what it raises; Cancelled if the current CancelScope is cancelled, while it waits too
        """
        run = Run(
            work=work,
            threads=max(1, min(threads, self.units)),
            playback=Playback.current(),
            scope=CancelScope.current(),
            context=contextvars.copy_context(),
            came=time.monotonic(),
        )
        self.give_up_hung()
        with self._lock:
            if self._is_closed:
                raise Cancelled(ENDING)
            self._turns.come(run, time.monotonic())
            self._hand_out()
        if not run.is_granted:
            self._wait(run)
        if run.is_granted:
            try:
                execute(run, self._part)
            finally:
                self._release(run)
        if run.error is not None:
            raise run.error
        return run.result

    def _wait(self, run: Run) -> None:
        try:
            with ExitStack() as stack:
                if run.scope is not None:
                    stack.enter_context(run.scope.stopping(partial(self._withdraw, run)))
                while not run.woken.wait(min(run.turns_urgent_in(), self._hung_s)):
                    self.give_up_hung()
                    with self._lock:
                        self._hand_out()
        except BaseException:  # cancelled before it could wait, or Ctrl-C
            self._withdraw(run)
            if run.is_granted:
                self._turn_down(run)
            raise

    def _withdraw(self, run: Run) -> None:
        """Let a run go whose stream was closed while it waited."""
        with self._lock:
            if run in self._turns.waiting:
                self._turns.waiting.remove(run)
                run.give(error=Cancelled("the stream was closed"))

    def _turn_down(self, run: Run) -> None:
        with self._lock:
            if not run.is_lost:
                self._turns.turn_down(run)
                self._hand_out()

    def _release(self, run: Run) -> None:
        with self._lock:
            if not run.is_lost:
                self._end(run)

    def _end(self, run: Run) -> None:
        """Take back what a run was given, and hand it out again; the lock is held."""
        self._turns.end(run)
        self._hand_out()

    def give_up_hung(self) -> None:
        """Let nobody wait any longer for runs that do not end; their threads cannot be freed.

        The listener is told through the scope of his stream. A run in the stream's own thread keeps that,
        and with it all that its request holds: what its net uses stays in memory, and a service admits the
        fewer streams, the more of its threads are stuck.
        """
        with self._lock:
            hung = self._turns.begun_before(time.monotonic() - self._hung_s)
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
                    each.scope.outermost.cancel(error)

    def close(self) -> None:
        """Stop all runs, refuse those that come, and wait until none is in flight: the program ends."""
        ending = Cancelled(ENDING)
        with self._lock:
            self._is_closed = True
            waiting, self._turns.waiting = self._turns.waiting, []
            runs = [each for run in (*waiting, *self._turns.running) for each in (run, *run.fellows)]
        for run in waiting:
            run.give(error=ending)
        for run in runs:
            if run.scope is not None:
                run.scope.outermost.cancel(ending)
        until = time.monotonic() + ENDING_S
        while self.state.running and time.monotonic() < until:
            time.sleep(0.001)

    def _hand_out(self) -> None:
        """Give free units to the most urgent of those that wait; wake a worker if the rest is patient."""
        self._turns.grant_urgent(time.monotonic())
        if not self._turns.ready(time.monotonic()):
            return
        if self._idle_workers:
            self._patient_came.notify()
        elif self._workers < self.units:
            self._add_worker()

    def _add_worker(self) -> None:
        worker = threading.Thread(target=self._serve_patient, name=f"voxstack-{self._name}", daemon=True)
        try:
            worker.start()
        except RuntimeError:  # the machine has no more threads: what can wait runs in its own
            if not self._workers:
                self._turns.grant_first(time.monotonic())
        else:
            self._workers += 1

    def _part(self, run: Run) -> None:
        with self._lock:
            self._turns.part(run)
            self._hand_out()

    def _serve_patient(self) -> None:
        """Run what is patient, in a thread of low priority."""
        stand_back()
        while True:
            with self._lock:
                run = self._next_patient()
            execute(run, self._part)
            if run.is_lost:
                return
            self._release(run)
            del run  # and what it holds of a request that is over

    def _next_patient(self) -> Run:
        """Wait for a run that is patient, and take it; the lock is held."""
        while True:
            run = self._turns.take_patient(time.monotonic())
            if run is not None:
                return run
            # What was patient when it woke this thread may be urgent by now, and nobody else looks at it.
            self._turns.grant_urgent(time.monotonic())
            self._idle_workers += 1
            self._patient_came.wait()
            self._idle_workers -= 1


_lanes: dict[str, Lane] = {}
_lock = threading.Lock()


def lane_of(device: str) -> Lane:
    """Return the lane in which everything of this process runs that runs on a device, as profiles name it."""
    name = device.lower()
    with _lock:
        if name not in _lanes:
            _lanes[name] = Lane(cores() if name == "cpu" else DEVICE_RUNS, name=name)
        return _lanes[name]


def give_up_hung() -> None:
    """Give up what does not end, in all lanes; whoever waits for audio calls it now and then."""
    for lane in tuple(_lanes.values()):
        lane.give_up_hung()


def _end() -> None:
    """End with the program: an engine at work while the interpreter goes down takes the process with it."""
    for lane in tuple(_lanes.values()):
        lane.close()


def _begin_anew() -> None:
    global _lock  # noqa: PLW0603 - a thread that is not in this process may have held it
    _lock = threading.Lock()
    for lane in _lanes.values():
        lane.begin_anew()


atexit.register(_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
