"""Deadlines are called in the order in which they are due, by one thread."""

import gc
import os
import threading
import time
import weakref

import pytest

from voxstack.engine.deadlines import Deadlines

pytestmark = pytest.mark.unit

PATIENCE_S = 20
NEVER_S = 1e6


@pytest.fixture
def deadlines():
    made = Deadlines()
    yield made
    made.close()


def test_what_is_due_first_is_called_first(deadlines):
    called, ended = [], threading.Event()
    now = time.monotonic()
    deadlines.at(now + 0.03, ended.set)
    deadlines.at(now + 0.02, lambda: called.append("second"))
    deadlines.at(now + 0.01, lambda: called.append("first"))
    deadlines.at(now + NEVER_S, lambda: called.append("never"))
    assert ended.wait(PATIENCE_S)
    assert called == ["first", "second"]


def test_what_is_dropped_is_not_called(deadlines):
    called, ended = [], threading.Event()
    now = time.monotonic()
    dropped = deadlines.at(now + 0.01, lambda: called.append("dropped"))
    deadlines.at(now + 0.02, ended.set)
    deadlines.drop(dropped)
    deadlines.drop(dropped)
    assert ended.wait(PATIENCE_S)
    deadlines.drop(dropped)
    assert called == []


def test_what_is_dropped_is_not_kept(deadlines):
    class Act:
        def __call__(self):
            raise AssertionError

    acts = [Act() for _ in range(100)]
    gone = [weakref.ref(act) for act in acts]
    for deadline in [deadlines.at(time.monotonic() + NEVER_S, act) for act in acts]:
        deadlines.drop(deadline)
    acts.clear()
    ended = threading.Event()
    deadlines.at(time.monotonic(), ended.set)
    assert ended.wait(PATIENCE_S)
    assert not [act for act in gone if act() is not None]


def test_there_is_no_thread_before_the_first_and_none_after_the_end():
    before = threading.active_count()
    deadlines = Deadlines()
    assert threading.active_count() == before
    for _ in range(10):
        deadlines.at(time.monotonic() + NEVER_S, gc.collect)
    assert threading.active_count() == before + 1
    deadlines.close()
    deadlines.close()
    assert threading.active_count() == before


def test_deadlines_that_are_forgotten_end_their_thread():
    deadlines = Deadlines()
    deadlines.at(time.monotonic() + NEVER_S, gc.collect)
    thread = deadlines._thread
    del deadlines
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_deadlines_come_in_a_fork_made_at_any_moment():
    """In the child nobody lets go of the lock that the parent's thread was about to take."""
    for _ in range(20):
        deadlines = Deadlines()
        asked = [deadlines.at(time.monotonic() + NEVER_S, gc.collect) for _ in range(8)]
        dropping = [threading.Thread(target=deadlines.drop, args=(one,)) for one in asked]
        for thread in dropping:
            thread.start()
        for thread in dropping:
            thread.join()
        child = os.fork()
        if child == 0:
            deadlines.drop(deadlines.at(time.monotonic() + NEVER_S, gc.collect))
            time.sleep(0.001)
            ended = threading.Event()
            deadlines.at(time.monotonic(), ended.set)
            os._exit(0 if ended.wait(PATIENCE_S) else 7)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        deadlines.close()
