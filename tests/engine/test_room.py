"""Bytes are counted once for each net, and as little goes as is needed."""

import pytest

from voxstack.engine.room import Room

pytestmark = pytest.mark.unit


@pytest.fixture
def room():
    return Room()


def test_a_net_that_two_hold_is_counted_once_until_both_are_gone(room):
    one, two = {"vocoder": 100, "a": 10}, {"vocoder": 100, "b": 20}
    room.add(one)
    assert room.missing_bytes(two) == 20
    room.add(two)
    assert room.in_use_bytes == 130
    room.drop(one)
    assert room.in_use_bytes == 120
    room.drop(two)
    assert room.in_use_bytes == 0


def test_what_is_shared_becomes_free_with_its_last_holder(room):
    one, two = {"vocoder": 100, "a": 10}, {"vocoder": 100, "b": 20}
    room.add(one)
    room.add(two)
    assert room.freed_bytes([one], kept={}) == 10
    assert room.freed_bytes([one, two], kept={}) == 130
    assert room.freed_bytes([one, two], kept={"vocoder": 100}) == 30


@pytest.mark.parametrize(
    ("free_bytes", "going"),
    [(0, []), (5, [0]), (10, [0]), (11, [0, 1]), (130, [0, 1]), (131, None)],
)
def test_the_first_go_first_and_no_more_than_needed(room, free_bytes, going):
    idle = [{"vocoder": 100, "a": 10}, {"vocoder": 100, "b": 20}]
    for weights in idle:
        room.add(weights)
    assert room.fewest(idle, free_bytes=free_bytes, kept={}) == going


def test_one_that_would_free_nothing_stays(room):
    speaking, idle = {"net": 100}, [{"net": 100}, {"other": 50}]
    for weights in (speaking, *idle):
        room.add(weights)
    assert room.fewest(idle, free_bytes=50, kept={}) == [1]


def test_what_is_wanted_next_does_not_count_as_free(room):
    idle = [{"net": 100, "own": 1}]
    room.add(idle[0])
    assert room.fewest(idle, free_bytes=50, kept={"net": 100}) is None
