"""Blocks in threads: at the same time, each as soon as it can, stopped together, and nothing left behind."""

import threading
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np
import pytest

from voxstack.core.cancel import CancelScope
from voxstack.core.errors import Cancelled, NetError
from voxstack.core.events import Event, listening, report
from voxstack.core.nets import Net
from voxstack.core.ports import Port
from voxstack.core.together import in_turn
from voxstack.engine.threads import MOST_THREADS, _Work, at_once

pytestmark = pytest.mark.unit

WAIT_S = 60
"""Longer than any machine is slow: who waits so long waits for ever."""


@dataclass(frozen=True)
class Step:
    """A block that does `work` and gives the sum of what it takes, plus one."""

    name: str
    wants: tuple[str, ...] = ()
    work: Callable[[], object] = lambda: None

    @property
    def takes(self):
        return {name: Port(name, "int64", ()) for name in self.wants}

    @property
    def gives(self):
        return {self.name: Port(self.name, "int64", ())}

    def run(self, tensors):
        self.work()
        return {self.name: sum(tensors[name] for name in self.wants) + 1}


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = threading.active_count()
    yield
    assert threading.active_count() == before


@pytest.fixture
def endless(forever):
    """Return what makes a block around a net that runs for years, calling `began` when it is about to."""

    def make(name, began):
        return Begun(name, forever, began)

    return make


@dataclass(frozen=True)
class Begun:
    """A block around a net that says when its net is about to run."""

    name: str
    net: Net
    began: Callable[[], object]

    @property
    def takes(self):
        return self.net.spec.takes

    @property
    def gives(self):
        return {self.name: self.net.spec.gives["y"].renamed(self.name)}

    def run(self, tensors):
        self.began()
        return {self.name: self.net.run(tensors)["y"]}


YEARS = {"x": np.array(0, np.float32), "steps": np.array(1 << 60)}


def test_blocks_that_do_not_wait_for_each_other_run_at_the_same_time():
    meeting = threading.Barrier(3, timeout=WAIT_S)  # nobody passes before all three are there
    blocks = [Step(name, work=meeting.wait) for name in "abc"]
    assert at_once(blocks, {}) == {"a": 1, "b": 1, "c": 1}


def test_a_block_starts_as_soon_as_it_has_what_it_takes_and_no_later():
    is_after_done = threading.Event()

    def slow():
        assert is_after_done.wait(WAIT_S)  # ends only when the one behind "quick" has run

    blocks = [Step("slow", work=slow), Step("quick"), Step("after", ("quick",), is_after_done.set)]
    assert at_once(blocks, {}) == {"slow": 1, "quick": 1, "after": 2}


def test_what_comes_out_is_what_comes_out_in_turn():
    blocks = [Step("a", ("ids",)), Step("b", ("ids",)), Step("c", ("a", "b")), Step("d", ("c", "ids"))]
    given = {"ids": np.array(3)}
    assert list(at_once(blocks, given).items()) == list(in_turn(blocks, given).items())
    assert at_once([], given) == given


def test_blocks_in_a_chain_stay_in_the_callers_thread():
    seen = []
    blocks = [
        Step(name, wants, lambda: seen.append(threading.current_thread()))
        for name, wants in [("a", ()), ("b", ("a",)), ("c", ("b",))]
    ]
    at_once(blocks, {})
    assert seen == [threading.current_thread()] * 3


def test_no_more_run_at_a_time_than_are_allowed_and_another_starts_when_one_ends():
    blocks = [Step(f"block{number}") for number in range(3 * MOST_THREADS)]
    work = _Work(blocks, {}, CancelScope())
    first = work._take_ready()
    assert first == list(range(MOST_THREADS))
    for place in first[:3]:
        work._run_block(place)
    assert work._take_ready() == [MOST_THREADS, MOST_THREADS + 1, MOST_THREADS + 2]


def test_many_blocks_all_run():
    together = threading.Barrier(MOST_THREADS, timeout=WAIT_S)  # so many at a time, five times
    blocks = [Step(f"block{number}", work=together.wait) for number in range(5 * MOST_THREADS)]
    assert at_once(blocks, {}) == {block.name: 1 for block in blocks}


def test_each_runs_in_a_copy_of_the_callers_context():
    setting = ContextVar("setting", default="none")
    seen, both = [], threading.Barrier(2, timeout=WAIT_S)

    def work():
        seen.append(setting.get())
        both.wait()
        setting.set("of the block")

    token = setting.set("of the caller")
    at_once([Step("a", work=work), Step("b", work=work)], {})
    assert (seen, setting.get()) == (["of the caller"] * 2, "of the caller")
    setting.reset(token)


def test_what_blocks_report_is_heard_by_who_listens_to_the_caller():
    heard = []
    blocks = [Step(name, work=lambda name=name: report(Event("odd", name, 0))) for name in "ab"]
    with listening(heard.append):
        at_once(blocks, {})
    assert sorted(event.where for event in heard) == ["a", "b"]


def test_a_failure_stops_the_run_of_another_in_flight_and_is_what_is_raised(endless):
    is_running = threading.Event()

    def fail():
        assert is_running.wait(WAIT_S)
        raise NetError("no such id", where="net 'quick'")

    blocks = [endless("slow", is_running.set), Step("quick", work=fail), Step("after", ("quick",), fail)]
    with pytest.raises(NetError, match=r"^net 'quick': no such id$"):
        at_once(blocks, YEARS)


def test_what_a_failure_stops_is_not_the_callers_scope():
    def fail():
        raise NetError("no such id")

    scope = CancelScope()
    with scope.active(), pytest.raises(NetError):
        at_once([Step("a", work=fail), Step("b")], {})
    assert not scope.is_cancelled


def test_a_failure_of_a_block_alone_is_raised_too():
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        at_once([Step("a", work=fail)], {})


def test_closing_the_stream_stops_all_runs_in_flight(endless):
    scope, both = CancelScope(), threading.Barrier(3, timeout=WAIT_S)

    def close():
        both.wait()
        scope.cancel()

    closer = threading.Thread(target=close)
    closer.start()
    with scope.active(), pytest.raises(Cancelled, match=r"^the stream was closed$"):
        at_once([endless("one", both.wait), endless("two", both.wait)], YEARS)
    closer.join()


def test_a_stream_that_is_closed_between_blocks_starts_no_other():
    scope, ran = CancelScope(), []
    blocks = [Step("a", work=scope.cancel), Step("b", ("a",), lambda: ran.append("b"))]
    with scope.active(), pytest.raises(Cancelled, match=r"^the stream was closed$"):
        at_once(blocks, {})
    assert ran == []


def test_nothing_runs_in_a_stream_that_is_closed():
    scope, ran = CancelScope(), []
    scope.cancel()
    with scope.active(), pytest.raises(Cancelled, match=r"^the stream was closed$"):
        at_once([Step("a", work=lambda: ran.append("a"))], {})
    assert ran == []


def test_a_machine_without_more_threads_says_so_and_stops_what_runs(monkeypatch, endless):
    start, is_running = threading.Thread.start, threading.Event()

    def once(thread):
        if is_running.is_set():
            raise RuntimeError("can't start new thread")
        start(thread)
        assert is_running.wait(WAIT_S)

    monkeypatch.setattr(threading.Thread, "start", once)
    with pytest.raises(RuntimeError, match=r"^can't start new thread$"):
        at_once([endless("one", is_running.set), Step("two")], YEARS)
