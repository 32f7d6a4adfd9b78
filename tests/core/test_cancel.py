"""A cancelled scope stops what runs in it and refuses what comes."""

import threading

import pytest

from voxstack.core.cancel import CancelScope
from voxstack.core.errors import Cancelled, DeadlineError

pytestmark = pytest.mark.unit


def test_there_is_no_scope_unless_one_is_active():
    scope = CancelScope()
    assert CancelScope.current() is None
    with scope.active():
        assert CancelScope.current() is scope
    assert CancelScope.current() is None


def test_scopes_nest():
    outer, inner = CancelScope(), CancelScope()
    with outer.active():
        with inner.active():
            assert CancelScope.current() is inner
        assert CancelScope.current() is outer


def test_a_scope_is_one_thread_s_own():
    seen = []
    with CancelScope().active():
        thread = threading.Thread(target=lambda: seen.append(CancelScope.current()))
        thread.start()
        thread.join()
    assert seen == [None]


def test_cancel_calls_every_stop_that_is_lent():
    scope, calls = CancelScope(), []
    with scope.stopping(lambda: calls.append("one")), scope.stopping(lambda: calls.append("two")):
        scope.cancel()
    assert sorted(calls) == ["one", "two"]
    assert scope.is_cancelled


def test_a_stop_is_not_called_once_its_work_is_over():
    scope, calls = CancelScope(), []
    with scope.stopping(lambda: calls.append("late")):
        pass
    scope.cancel()
    assert calls == []


def test_a_stop_is_given_back_when_its_work_fails():
    scope, calls = CancelScope(), []
    with pytest.raises(ZeroDivisionError), scope.stopping(lambda: calls.append("late")):
        _ = 1 / 0
    scope.cancel()
    assert calls == []


def test_work_that_comes_after_cancel_is_refused():
    scope = CancelScope()
    scope.cancel()
    scope.cancel()
    with pytest.raises(Cancelled) as caught, scope.stopping(lambda: None):
        raise AssertionError("must not be reached")
    assert str(caught.value) == "the stream was closed"


def test_an_inner_scope_is_cancelled_with_the_one_around_it():
    outer = CancelScope()
    with outer.active(), CancelScope.inner() as inner:
        assert CancelScope.current() is inner
        outer.cancel()
        assert inner.is_cancelled


def test_cancelling_an_inner_scope_leaves_the_one_around_it():
    outer = CancelScope()
    with outer.active():
        with CancelScope.inner() as inner:
            inner.cancel()
        assert CancelScope.current() is outer
    assert not outer.is_cancelled


def test_an_inner_scope_needs_none_around_it():
    with CancelScope.inner() as inner:
        assert CancelScope.current() is inner
    assert CancelScope.current() is None


def test_there_is_no_inner_scope_in_one_that_is_cancelled():
    outer = CancelScope()
    outer.cancel()
    with outer.active(), pytest.raises(Cancelled, match=r"^the stream was closed$"), CancelScope.inner():
        raise AssertionError("must not be reached")


def test_who_cancels_may_say_why_and_the_first_is_believed():
    scope, why = CancelScope(), DeadlineError("its 2 s are over")
    assert scope.why is None
    scope.cancel(why)
    scope.cancel(DeadlineError("another"))
    assert scope.why is why
    closed = CancelScope()
    closed.cancel()
    closed.cancel(why)
    assert closed.why is None
