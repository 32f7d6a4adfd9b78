"""A listener runs dry when it has played all that was made for it."""

import math

import pytest

from voxstack.engine import playback as module
from voxstack.engine.playback import Playback

pytestmark = pytest.mark.unit


@pytest.fixture
def clock(monkeypatch):
    """Return a clock that stands still until it is set."""

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


def test_who_has_heard_nothing_waits_since_it_came(clock):
    playback = Playback()
    clock.now = 103
    assert (playback.runs_dry_at(), playback.has_begun) == (100, False)


def test_who_takes_each_chunk_at_once_plays_from_the_first(clock):
    playback = Playback()
    clock.now = 101
    playback.made(0.5)
    assert (playback.runs_dry_at(), playback.has_begun) == (101.5, True)
    clock.now = 101.2
    playback.made(1)
    assert playback.runs_dry_at() == 102.5


def test_a_gap_is_not_made_up_for(clock):
    playback = Playback()
    playback.made(0.5)
    clock.now = 102
    assert playback.runs_dry_at() == 100.5
    playback.made(0.5)
    assert playback.runs_dry_at() == 102.5


def test_what_waits_is_not_heard_before_it_is_taken(clock):
    playback = Playback(is_ahead=True)
    playback.made(0.5)
    clock.now = 110
    assert (playback.runs_dry_at(), playback.has_begun) == (110.5, True)
    playback.took(0.5)
    assert playback.runs_dry_at() == 110.5
    clock.now = 110.4
    playback.made(2)
    assert playback.runs_dry_at() == pytest.approx(112.5)


def test_who_stopped_reading_does_not_run_dry_while_something_waits(clock):
    playback = Playback(is_ahead=True)
    playback.made(0.5)
    playback.took(0.5)
    playback.made(2)
    clock.now = 200
    assert playback.runs_dry_at() == 202


def test_text_that_comes_late_begins_anew_only_when_all_was_heard(clock):
    playback = Playback()
    playback.made(2)
    clock.now = 101
    playback.begin()
    assert (playback.runs_dry_at(), playback.has_begun) == (102, True)
    clock.now = 105
    playback.begin()
    clock.now = 106
    assert (playback.runs_dry_at(), playback.has_begun) == (105, False)


def test_nobody_never_runs_dry(clock):
    nobody = Playback.nobody()
    nobody.begin()
    nobody.made(1)
    assert nobody.runs_dry_at() == math.inf


def test_work_inside_is_for_the_innermost_one():
    outer, inner = Playback(), Playback()
    assert Playback.current() is None
    with outer.active():
        with inner.active():
            assert Playback.current() is inner
        assert Playback.current() is outer
