"""What is in memory, what leaves and what must go is known without loading anything."""

import pytest

from voxstack.core.errors import AddonError, BusyError, RequestError
from voxstack.engine.shelf import Shelf

pytestmark = pytest.mark.unit


class Clock:
    """Time that passes whenever somebody looks."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        self.now_s += 1
        return self.now_s


@pytest.fixture
def shelf():
    return Shelf(100, Clock())


def put(shelf, name, *, wanted=0, **weights):
    """Let a version of a voice come, with nets of these bytes; return it."""
    place = shelf.place(name)
    loading = shelf.begin(place, "cpu")
    loading.wanted = wanted
    shelf.reserve(loading.version, weights)
    shelf.came(place, loading)
    return loading.version


def rows(shelf):
    return [(row.name, row.state, row.leases, row.bytes) for row in shelf.states()]


def test_a_voice_that_comes_has_a_lease_for_each_who_waits_for_it(shelf):
    version = put(shelf, "a", wanted=2, a=60)
    assert rows(shelf) == [("a", "ready", 2, 60)]
    shelf.give_back(version)
    assert rows(shelf) == [("a", "ready", 1, 60)]


def test_while_a_voice_is_loaded_its_bytes_count_and_nothing_pushes_it_out(shelf):
    loading = shelf.begin(shelf.place("a"), "cpu")
    shelf.reserve(loading.version, {"a": 60})
    assert rows(shelf) == [("a", "loading", 0, 60)]
    with pytest.raises(BusyError, match=r"a 0\.1 kB \(loading\)"):
        put(shelf, "b", b=50)
    assert shelf.in_use_bytes == 60


def test_the_least_recently_used_goes_unless_somebody_holds_it_or_nothing_would_be_won(shelf):
    put(shelf, "held", wanted=1, shared=20, held=10)
    put(shelf, "wins nothing", shared=20)
    old, new = put(shelf, "old", old=30), put(shelf, "new", new=30)
    loading = shelf.begin(shelf.place("next"), "cpu")
    assert shelf.reserve(loading.version, {"next": 40}) == [old]
    assert sorted(shelf.places) == ["held", "new", "next", "wins nothing"]
    assert shelf.in_use_bytes == 100
    assert shelf.unload("new") == [new]


def test_a_version_that_somebody_holds_leaves_with_its_last_lease(shelf):
    version = put(shelf, "a", wanted=1, a=60)
    assert shelf.unload("a") == [version]
    assert rows(shelf) == [("a", "leaving", 1, 60)]
    shelf.give_back(version)
    assert (rows(shelf), shelf.in_use_bytes) == ([], 0)


def test_what_was_unloaded_before_it_came_leaves_when_it_comes(shelf):
    place = shelf.place("a")
    loading = shelf.begin(place, "cpu")
    assert shelf.unload("a") == []
    assert shelf.came(place, loading) == [loading.version]
    assert loading.is_over
    assert shelf.places == {}


def test_a_new_version_takes_the_place_of_the_old_one_and_nets_that_are_equal_count_once(shelf):
    old = put(shelf, "a", wanted=1, same=40, old=10)
    new = put(shelf, "a", same=40, new=20)
    assert shelf.place("a").version is new
    assert rows(shelf) == [("a", "ready", 0, 60), ("a", "leaving", 1, 50)]
    assert shelf.in_use_bytes == 70
    shelf.give_back(old)
    assert shelf.in_use_bytes == 60


def test_a_load_that_fails_gives_back_its_bytes_and_is_remembered_where_there_is_such_a_voice(shelf):
    for seen, state in (({"a": ()}, [("a", "broken", 0, 0)]), ({}, [])):
        place = shelf.place("a")
        loading = shelf.begin(place, "cpu")
        loading.seen = seen
        shelf.reserve(loading.version, {"a": 60})
        shelf.failed(place, loading, AddonError("broken", where="a"))
        assert rows(shelf) == state
        assert shelf.in_use_bytes == 0
        shelf.places.clear()


def test_for_want_of_memory_a_voice_is_not_broken(shelf):
    place = shelf.place("a")
    loading = shelf.begin(place, "cpu")
    loading.seen = {"a": ()}
    shelf.failed(place, loading, BusyError("no room", where="a", retry_after_s=5))
    assert rows(shelf) == []


def test_a_load_that_could_not_begin_leaves_all_as_it_was(shelf):
    shelf.begin(shelf.place("new"), "cpu")
    shelf.forget(shelf.place("new"))
    version = put(shelf, "old", old=10)
    shelf.begin(shelf.place("old"), "cpu")
    shelf.forget(shelf.place("old"))
    assert rows(shelf) == [("old", "ready", 0, 10)]
    assert (shelf.place("old").version, shelf.place("old").loading) == (version, None)


def test_what_is_neither_there_nor_coming_cannot_be_unloaded(shelf):
    put(shelf, "a", a=1)
    with pytest.raises(RequestError) as refused:
        shelf.unload("b")
    assert str(refused.value) == "voice: voice 'b' is not loaded; known: a"


def test_all_go_at_once(shelf):
    ready, held = put(shelf, "a", a=1), put(shelf, "b", wanted=1, b=1)
    coming = shelf.begin(shelf.place("c"), "cpu")
    assert shelf.unload_all() == [ready, held]
    assert coming.is_unwanted
    assert [row.name for row in shelf.states()] == ["b", "c"]
