"""Net runs get the cores in the order in which their listeners run dry; none waits behind what can wait."""

import os
import random
import sys
import threading
import time

import pytest

from voxstack.core.cancel import CancelScope
from voxstack.core.errors import Cancelled, NetError
from voxstack.core.events import Event, listening, report
from voxstack.engine.playback import Playback
from voxstack.engine.scheduler import Lane, LaneState, lane_of

pytestmark = pytest.mark.unit

SOON_S = 5
"""How long a test waits for what must happen; then it fails."""


def runs_dry_in(seconds):
    """Return a listener who has so much to hear."""
    playback = Playback()
    playback.made(seconds)
    return playback


class Gated:
    """A work that waits until it is let go; what was begun and together with what is noted in `log`."""

    where = "net 'gated'"
    can_stand_back = True

    def __init__(self, name, log=None, *, key=None, most=1, is_open=True, error=None):
        self.name = name
        self.log = [] if log is None else log
        self.key = key
        self.most = most
        self.error = error
        self.began = threading.Event()
        self.gate = threading.Event()
        if is_open:
            self.gate.set()

    def alone(self):
        self.log.append(self.name)
        self.thread = threading.current_thread()
        self.began.set()
        scope = CancelScope.current() or CancelScope()
        with scope.stopping(self.gate.set):
            assert self.gate.wait(SOON_S)
        if scope.is_cancelled:
            raise Cancelled("the stream was closed")
        if self.error is not None:
            raise self.error
        return self.name.upper()

    def together(self, works):
        self.log.append("+".join(work.name for work in works))
        self.began.set()
        assert self.gate.wait(SOON_S)
        for work in works:
            if work.error is not None:
                raise work.error
        return [work.name.upper() for work in works]


class Asked(threading.Thread):
    """Somebody who runs a work in a lane."""

    def __init__(self, lane, work, playback=None, *, threads=1, scope=None):
        super().__init__(daemon=True)
        self.lane, self.work, self.threads = lane, work, threads
        self.playback = playback or Playback()
        self.scope = scope or CancelScope()
        self.result = self.error = None
        self.start()

    def run(self):
        try:
            with self.playback.active(), self.scope.active():
                self.result = self.lane.run(self.work, threads=self.threads)
        except BaseException as error:  # noqa: BLE001 - what it is, the test asks for
            self.error = error

    def outcome(self):
        self.join(SOON_S)
        assert not self.is_alive()
        return self.result if self.error is None else self.error


def until(is_so):
    """Wait until something is so, which another thread brings about."""
    end = time.monotonic() + SOON_S
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.001)


def waiting(lane, count):
    until(lambda: lane.state.waiting == count)


@pytest.fixture
def busy():
    """Return a lane of one unit that an urgent run keeps, and that run."""
    lane = Lane(1)
    keeper = Gated("keeper", is_open=False)
    Asked(lane, keeper)
    assert keeper.began.wait(SOON_S)
    yield lane, keeper
    keeper.gate.set()


def test_a_run_alone_runs_in_the_thread_that_asked():
    for playback in (Playback(), runs_dry_in(100)):
        asked = Asked(Lane(2), work := Gated("a"), playback)
        assert asked.outcome() == "A"
        assert work.thread is asked


def test_who_runs_dry_first_goes_first_but_a_gap_is_worse_than_a_late_first_word(busy):
    lane, keeper = busy
    log = keeper.log
    asked = []
    for name, playback in [
        ("enough", runs_dry_in(0.4)),
        ("new", Playback()),
        ("newer", Playback()),
        ("nearly dry", runs_dry_in(0.1)),
    ]:
        asked.append(Asked(lane, Gated(name, log), playback))
        waiting(lane, len(asked))
    keeper.gate.set()
    assert [one.outcome() for one in asked] == ["ENOUGH", "NEW", "NEWER", "NEARLY DRY"]
    assert log == ["keeper", "nearly dry", "new", "newer", "enough"]


def test_what_can_wait_runs_in_a_thread_that_stands_back(busy):
    lane, _ = busy
    patient = Gated("patient", is_open=False)
    asked = Asked(lane, patient, runs_dry_in(100))
    assert patient.began.wait(SOON_S)
    assert patient.thread is not asked
    if sys.platform == "linux":
        other = os.getpriority(os.PRIO_PROCESS, patient.thread.native_id)
        assert other == os.getpriority(os.PRIO_PROCESS, 0) + 10
    patient.gate.set()
    assert asked.outcome() == "PATIENT"


def test_a_first_word_does_not_wait_for_what_can_wait():
    lane = Lane(1)
    patient = Gated("patient", is_open=False)
    asked = Asked(lane, patient, runs_dry_in(100))
    assert patient.began.wait(SOON_S)
    assert Asked(lane, Gated("new")).outcome() == "NEW"
    assert lane.state == LaneState(running=1, waiting=0)
    patient.gate.set()
    assert asked.outcome() == "PATIENT"


def test_what_could_wait_takes_the_next_core_once_its_listener_runs_dry(busy):
    lane, keeper = busy
    patient = Gated("patient", is_open=False)
    Asked(lane, patient, runs_dry_in(100))
    assert patient.began.wait(SOON_S)
    playback = runs_dry_in(100)
    asked = Asked(lane, work := Gated("was patient"), playback)
    waiting(lane, 1)
    playback.runs_dry_at = time.monotonic
    keeper.gate.set()
    assert asked.outcome() == "WAS PATIENT"
    assert work.thread is asked
    patient.gate.set()


def test_runs_of_several_threads_do_not_take_more_cores_than_there_are():
    lane = Lane(2)
    wide, narrow = Gated("wide", is_open=False), Gated("narrow", is_open=False)
    first = Asked(lane, wide, threads=8)
    assert wide.began.wait(SOON_S)
    second = Asked(lane, narrow)
    waiting(lane, 1)
    wide.gate.set()
    assert narrow.began.wait(SOON_S)
    narrow.gate.set()
    assert (first.outcome(), second.outcome()) == ("WIDE", "NARROW")


def test_what_a_run_raises_comes_back_to_who_asked_and_the_core_is_free_again():
    lane = Lane(1)
    for playback in (Playback(), runs_dry_in(100)):
        error = NetError("failed")
        assert Asked(lane, Gated("bad", error=error), playback).outcome() is error
        assert Asked(lane, Gated("good"), playback).outcome() == "GOOD"


@pytest.mark.parametrize("playback", [Playback(), runs_dry_in(100)], ids=["urgent", "patient"])
def test_a_stream_that_is_closed_while_its_run_waits_goes_at_once(busy, playback):
    lane, keeper = busy
    if playback.has_begun:
        Asked(lane, Gated("patient", is_open=False), runs_dry_in(50))
        until(lambda: lane.state.running == 2)
    scope = CancelScope()
    asked = Asked(lane, never := Gated("never", keeper.log), playback, scope=scope)
    waiting(lane, 1)
    scope.cancel()
    assert isinstance(asked.outcome(), Cancelled)
    assert lane.state.waiting == 0
    assert not never.began.is_set()


def test_a_stream_that_is_closed_already_costs_nothing(busy):
    lane, keeper = busy
    scope = CancelScope()
    scope.cancel()
    assert isinstance(Asked(lane, Gated("late"), scope=scope).outcome(), Cancelled)
    keeper.gate.set()
    assert Asked(lane, Gated("next")).outcome() == "NEXT"


def test_a_run_in_flight_is_stopped_with_its_stream():
    lane = Lane(1)
    for playback in (Playback(), runs_dry_in(100)):
        scope = CancelScope()
        asked = Asked(lane, work := Gated("long", is_open=False), playback, scope=scope)
        assert work.began.wait(SOON_S)
        scope.cancel()
        assert isinstance(asked.outcome(), Cancelled)


def test_what_a_run_reports_is_heard_where_it_was_asked(busy):
    lane, _ = busy
    heard = []

    class Reporting(Gated):
        def alone(self):
            report(Event("noticed", "here", 0))
            return super().alone()

    def ask():
        with listening(heard.append), runs_dry_in(100).active():
            lane.run(Reporting("a"))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join(SOON_S)
    assert [event.kind for event in heard] == ["noticed"]


def queued(lane, works, playback=None):
    asked = []
    for work in works:
        asked.append(Asked(lane, work, playback))
        waiting(lane, len(asked))
    return asked


def test_runs_of_one_key_are_run_as_one_and_each_gets_its_own(busy):
    lane, keeper = busy
    asked = queued(lane, [Gated(name, keeper.log, key=7, most=8) for name in "abc"])
    keeper.gate.set()
    assert [one.outcome() for one in asked] == ["A", "B", "C"]
    assert keeper.log == ["keeper", "a+b+c"]


def test_runs_of_other_keys_or_of_none_stay_apart_and_a_batch_has_a_bound(busy):
    lane, keeper = busy
    keys = {"a": 7, "b": 8, "c": None, "d": 7, "e": 7, "f": None}
    asked = queued(lane, [Gated(name, keeper.log, key=key, most=2) for name, key in keys.items()])
    keeper.gate.set()
    assert [one.outcome() for one in asked] == list("ABCDEF")
    assert keeper.log == ["keeper", "a+d", "b", "c", "e", "f"]


def test_what_can_be_run_as_one_gathers_while_such_a_run_is_at_work():
    lane, log = Lane(2), []
    first = Gated("first", log, key=7, most=8, is_open=False)
    begun = Asked(lane, first)
    assert first.began.wait(SOON_S)
    asked = queued(lane, [Gated(name, log, key=7, most=8) for name in "abc"])
    assert Asked(lane, Gated("other", log, key=8, most=8)).outcome() == "OTHER"
    first.gate.set()
    assert [begun.outcome(), *(one.outcome() for one in asked)] == ["FIRST", "A", "B", "C"]
    assert log == ["first", "other", "a+b+c"]


def test_what_is_urgent_does_not_wait_for_its_like_in_a_thread_that_stands_back():
    lane = Lane(1)
    patient = Gated("patient", key=7, most=8, is_open=False)
    begun = Asked(lane, patient, runs_dry_in(100))
    assert patient.began.wait(SOON_S)
    assert Asked(lane, Gated("new", key=7, most=8)).outcome() == "NEW"
    patient.gate.set()
    assert begun.outcome() == "PATIENT"


def test_what_turns_urgent_while_it_waits_does_not_wait_for_others_to_end():
    lane = Lane(1)
    patient = Gated("patient", is_open=False)
    begun = Asked(lane, patient, runs_dry_in(100))
    assert patient.began.wait(SOON_S)
    asked = Asked(lane, work := Gated("soon dry"), runs_dry_in(0.55))
    assert asked.outcome() == "SOON DRY"
    assert work.thread is asked
    patient.gate.set()
    assert begun.outcome() == "PATIENT"


def test_what_computes_in_threads_of_its_engine_waits_its_turn_like_what_is_urgent(busy):
    lane, keeper = busy
    work = Gated("patient")
    work.can_stand_back = False
    asked = Asked(lane, work, runs_dry_in(100))
    waiting(lane, 1)
    keeper.gate.set()
    assert asked.outcome() == "PATIENT"
    assert work.thread is asked


def test_one_that_fails_does_not_spoil_what_is_run_with_it(busy):
    lane, keeper = busy
    error = NetError("failed")
    works = [Gated(name, keeper.log, key=7, most=8) for name in "abc"]
    works[1].error = error
    asked = queued(lane, works)
    keeper.gate.set()
    assert [one.outcome() for one in asked] == ["A", error, "C"]
    assert keeper.log == ["keeper", "a+b+c", "a", "b", "c"]


def test_one_that_hangs_once_its_batch_has_failed_holds_up_nobody_who_was_run_with_it():
    """Whoever comes first of those run as one waits for the others no longer, nor they for it."""
    lane, log = Lane(2), []
    keepers = [Gated(name, log, is_open=False) for name in "xy"]
    kept = [Asked(lane, keeper) for keeper in keepers]
    for keeper in keepers:
        assert keeper.began.wait(SOON_S)
    works = [Gated(name, log, key=7, most=8) for name in "abc"]
    hanging, failing, _ = works
    failing.error = NetError("failed")
    hanging.gate.clear()
    hanging.together = lambda works: failing.alone()
    asked = queued(lane, works)
    for keeper in keepers:
        keeper.gate.set()
    assert [one.outcome() for one in asked[1:]] == [failing.error, "C"]
    assert asked[0].is_alive()
    hanging.gate.set()
    assert [one.outcome() for one in (*kept, asked[0])] == ["X", "Y", "A"]
    assert lane.state == LaneState(running=0, waiting=0)


def test_a_fault_in_a_batch_reaches_everybody(busy):
    lane, keeper = busy
    works = [Gated(name, key=7, most=8) for name in "ab"]
    works[0].error = ZeroDivisionError()
    asked = queued(lane, works)
    keeper.gate.set()
    assert [type(one.outcome()) for one in asked] == [ZeroDivisionError] * 2


def test_who_leaves_a_batch_leaves_at_once_and_the_rest_goes_on(busy):
    lane, keeper = busy
    works = [Gated(name, key=7, most=8, is_open=False) for name in "abc"]
    asked = queued(lane, works)
    keeper.gate.set()
    assert works[0].began.wait(SOON_S)
    asked[1].scope.cancel()
    assert isinstance(asked[1].outcome(), Cancelled)
    works[0].gate.set()
    assert [asked[0].outcome(), asked[2].outcome()] == ["A", "C"]


def test_a_run_that_never_ends_is_given_up_and_its_core_given_to_others():
    for playback in (Playback(), runs_dry_in(100)):
        lane = Lane(1, hung_s=0.05)
        hung = Gated("hung", is_open=False)
        scope = CancelScope()
        asked = Asked(lane, hung, playback, scope=scope)
        assert hung.began.wait(SOON_S)
        assert Asked(lane, Gated("next"), playback).outcome() == "NEXT"
        assert scope.is_cancelled
        hung.gate.set()
        error = asked.outcome()
        assert str(error) == "net 'gated': has not ended after 0.05 s and is given up"
        assert Asked(lane, Gated("last"), playback).outcome() == "LAST"
        assert lane.state == LaneState(running=0, waiting=0)


def test_a_stream_learns_that_its_run_hangs_in_whatever_part_of_it():
    """Encoders run in scopes of their own, which are cancelled one by one."""
    lane, stream = Lane(1, hung_s=0.05), CancelScope()
    hung = Gated("hung", is_open=False)
    with stream.active(), CancelScope.inner() as block, CancelScope.inner() as part:
        Asked(lane, hung, scope=part)
        assert hung.began.wait(SOON_S)
        until(lambda: lane.give_up_hung() or stream.is_cancelled)
    assert block.is_cancelled
    assert isinstance(stream.why, NetError)


def test_who_would_have_been_run_with_one_that_goes_at_the_last_moment_waits_again(busy):
    lane, keeper = busy

    class LastMoment(CancelScope):
        """Cancelled after its run got its turn, before it could look."""

        def stopping(self, stop):
            waiting(lane, 2)
            keeper.gate.set()
            waiting(lane, 0)
            self.cancel()
            return super().stopping(stop)

    gone = Asked(lane, Gated("gone", key=7, most=8), scope=LastMoment())
    waiting(lane, 1)
    stays = Asked(lane, Gated("stays", key=7, most=8))
    assert isinstance(gone.outcome(), Cancelled)
    assert stays.outcome() == "STAYS"
    assert lane.state == LaneState(running=0, waiting=0)


def test_what_becomes_urgent_just_when_a_thread_for_the_patient_looks_at_it_is_not_left_lying():
    class Turning(Playback):
        has_begun = True

        def runs_dry_at(self):
            is_looked_at_there = threading.current_thread().name.startswith("voxstack-")
            return time.monotonic() + (0.3 if is_looked_at_there else 100)

    asked = Asked(Lane(1), work := Gated("a"), Turning())
    assert asked.outcome() == "A"
    assert work.thread is asked


def test_where_no_thread_can_be_had_what_is_patient_runs_in_its_own(monkeypatch):
    lane, work = Lane(1), Gated("patient")
    real = threading.Thread.start

    def refuse(thread):
        if thread.name.startswith("voxstack-"):
            raise RuntimeError("can't start new thread")
        real(thread)

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        asked = Asked(lane, work, runs_dry_in(100))
        assert asked.outcome() == "PATIENT"
    assert work.thread is asked
    assert Asked(lane, Gated("later"), runs_dry_in(100)).outcome() == "LATER"
    assert lane.state == LaneState(running=0, waiting=0)


def test_a_lane_that_ends_with_the_program_stops_all_and_refuses_the_rest(busy):
    lane, keeper = busy
    Asked(lane, patient := Gated("patient", is_open=False), runs_dry_in(100))
    assert patient.began.wait(SOON_S)
    asked = queued(lane, [Gated(name, key=7, most=8) for name in "abc"])
    lane.close()
    assert lane.state == LaneState(running=0, waiting=0)
    assert keeper.gate.is_set()
    for one in (*asked, Asked(lane, Gated("late"))):
        assert isinstance(one.outcome(), Cancelled)
        assert str(one.outcome()) == "the program ends"


def test_each_device_has_one_lane_in_the_process():
    assert lane_of("CPU") is lane_of("cpu")
    assert lane_of("cuda:0") is not lane_of("cpu")


def test_many_at_once_with_random_ends_lose_no_core_and_no_answer():
    lane = Lane(3)
    draw = random.Random(4)
    asked = []

    class Short(Gated):
        def alone(self):
            return self.name.upper()

    for number in range(400):
        work = Short(f"n{number}", key=draw.choice([None, 1, 2]), most=4)
        if draw.random() < 0.1:
            work.error = NetError("failed")
            work.alone = lambda error=work.error: (_ for _ in ()).throw(error)
        playback = runs_dry_in(100) if draw.random() < 0.5 else Playback()
        one = Asked(lane, work, playback, threads=draw.choice([1, 1, 2, 3]))
        if draw.random() < 0.2:
            one.scope.cancel()
        asked.append(one)
    for number, one in enumerate(asked):
        outcome = one.outcome()
        assert outcome == f"N{number}" or isinstance(outcome, Cancelled | NetError)
        assert isinstance(outcome, NetError) or one.work.error is None or isinstance(outcome, Cancelled)
    assert lane.state == LaneState(running=0, waiting=0)
    assert Asked(lane, Gated("wide"), threads=3).outcome() == "WIDE"
