"""A net is there once, for as long as somebody uses it."""

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from voxstack.engine.shared import SharedNets

pytestmark = pytest.mark.unit

PATIENCE_S = 20


class Net:
    """All that matters here of a net: that it is one thing."""


@pytest.fixture
def shared():
    return SharedNets()


@pytest.fixture
def made():
    return []


@pytest.fixture
def load(made):
    """Make a net, and remember it without keeping it."""

    def make():
        net = Net()
        made.append(weakref.ref(net))
        return net

    return make


def test_who_asks_for_the_same_gets_the_same(shared, made, load):
    one = shared.get(("bytes", 1), load)
    assert shared.get(("bytes", 1), load) is one
    assert len(made) == 1


def test_another_key_is_another_net(shared, made, load):
    assert shared.get("one", load) is not shared.get("two", load)
    assert len(made) == 2


def test_a_net_lives_as_long_as_its_last_user(shared, made, load):
    one = shared.get("net", load)
    two = shared.get("net", load)
    del one
    gc.collect()
    assert made[0]() is two
    del two
    gc.collect()
    assert made[0]() is None


def test_a_net_that_was_freed_is_loaded_anew_and_shared_again(shared, made, load):
    shared.get("net", load)
    gc.collect()
    one = shared.get("net", load)
    assert shared.get("net", load) is one
    assert len(made) == 2


def test_nets_that_are_gone_leave_nothing_behind(shared, load):
    for number in range(100):
        shared.get(number, load)
    gc.collect()
    assert len(shared._places) == 0


def test_a_net_that_goes_while_the_next_comes_does_not_take_it_along(shared, made, load):
    """Who hears that a net is gone may ask for it again, before all else is tidied up."""
    again = []
    net = shared.get("net", load)
    goodbye = weakref.ref(net, lambda _: again.append(shared.get("net", load)))
    del net
    gc.collect()
    assert goodbye() is None
    assert shared.get("net", load) is again[0]
    assert len(made) == 2


def test_two_who_ask_at_once_load_it_once(shared, made, load):
    others_ask = threading.Barrier(2)

    def slow():
        others_ask.wait(PATIENCE_S)
        return load()

    def first():
        return shared.get("net", slow)

    def second():
        others_ask.wait(PATIENCE_S)
        return shared.get("net", load)

    with ThreadPoolExecutor(2) as pool:
        for _ in range(50):
            # Whether the second comes while it is loaded or after, there is one.
            one, two = pool.submit(first), pool.submit(second)
            assert one.result() is two.result()
            assert len(made) == 1
            del one, two
            gc.collect()
            made.clear()


def test_one_that_is_slow_to_load_keeps_no_other_waiting(shared, load):
    is_there = threading.Event()

    def slow():
        assert is_there.wait(PATIENCE_S)
        return load()

    with ThreadPoolExecutor(1) as pool:
        one = pool.submit(shared.get, "slow", slow)
        two = shared.get("quick", load)
        is_there.set()
        assert one.result() is not two


def test_one_that_could_not_be_loaded_may_be_tried_again(shared, load):
    def broken():
        raise OSError("no such file")

    for _ in range(2):
        with pytest.raises(OSError, match="no such file"):
            shared.get("net", broken)
    assert shared.get("net", load) is not None


def test_who_waited_for_one_that_could_not_be_loaded_loads_it_himself(shared, load):
    is_loading = threading.Event()

    def broken():
        is_loading.set()
        raise OSError("no such file")

    with ThreadPoolExecutor(1) as pool:
        failed = pool.submit(shared.get, "net", broken)
        assert is_loading.wait(PATIENCE_S)
        net = shared.get("net", load)
        assert isinstance(failed.exception(), OSError)
        assert shared.get("net", load) is net
