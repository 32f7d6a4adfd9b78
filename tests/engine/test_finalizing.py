"""What finalizers want done is done under the lock, and nobody waits for it."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from voxstack.engine.finalizing import FinalizerLock

pytestmark = pytest.mark.unit

PATIENCE_S = 20


def test_what_is_wanted_is_done_at_once_if_the_lock_is_free():
    done = []
    FinalizerLock().soon(lambda: done.append(1))
    assert done == [1]


def test_who_holds_the_lock_may_be_interrupted_by_a_finalizer_of_his_own_thread():
    lock, done = FinalizerLock(), []
    with lock:
        lock.soon(lambda: done.append(1))
        assert done == []
    assert done == [1]


def test_who_finds_the_lock_taken_does_not_wait_and_the_holder_does_it():
    lock, done = FinalizerLock(), []
    with lock, ThreadPoolExecutor(1) as pool:
        pool.submit(lock.soon, lambda: done.append(threading.current_thread())).result(PATIENCE_S)
        assert done == []
    assert done == [threading.current_thread()]


def test_nothing_is_lost_and_nothing_done_twice_between_threads():
    lock, count = FinalizerLock(), [0]
    together = threading.Barrier(4)

    def more():
        count[0] += 1

    def work(_):
        together.wait(PATIENCE_S)
        for _ in range(2000):
            lock.soon(more)
            with lock:
                more()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert count == [16_000]


def test_a_change_may_want_another():
    lock, done = FinalizerLock(), []
    lock.soon(lambda: lock.soon(lambda: done.append(1)))
    assert done == [1]
