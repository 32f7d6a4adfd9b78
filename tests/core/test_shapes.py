"""The planner puts exactly what an output needs before the net, and crops the rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxstack.core.nets import Ragged
from voxstack.core.shapes import Window, new_steps, window

pytestmark = pytest.mark.unit

SIZES = st.integers(0, 40)


@st.composite
def plans(draw, pad):
    ragged = Ragged("frames", context=(draw(SIZES), draw(SIZES)), hop=draw(st.integers(1, 300)), pad=pad)
    end = draw(st.integers(1, 200))
    start = draw(st.integers(0, end - 1))
    stop = draw(st.integers(start + 1, end))
    return ragged, start, stop, end


@given(plans(pad=0.0))
def test_with_a_pad_value_every_window_has_its_whole_context(case):
    ragged, start, stop, end = case
    plan = window(ragged, start, stop, end)
    left, right = ragged.context
    assert plan.size == left + (stop - start) + right
    assert plan.crop == left * ragged.hop


@given(plans(pad=None))
def test_without_one_the_window_stops_at_the_utterance_s_ends(case):
    ragged, start, stop, end = case
    plan = window(ragged, start, stop, end)
    left, right = ragged.context
    assert (plan.pad_left, plan.pad_right) == (0, 0)
    assert (plan.lo, plan.hi) == (max(0, start - left), min(end, stop + right))


@given(st.sampled_from([None, 0.0]).flatmap(plans))
def test_what_is_kept_is_what_was_asked_for(case):
    ragged, start, stop, end = case
    plan = window(ragged, start, stop, end)
    assert 0 <= plan.lo <= start < stop <= plan.hi <= end
    assert plan.keep == (stop - start) * ragged.hop
    # Walk the window's steps in order: the kept ones are start to stop.
    steps = [None] * plan.pad_left + list(range(plan.lo, plan.hi)) + [None] * plan.pad_right
    assert len(steps) == plan.size
    first = plan.crop // ragged.hop
    assert steps[first : first + plan.keep // ragged.hop] == list(range(start, stop))


@given(st.sampled_from([None, 0.0]).flatmap(plans))
def test_an_end_that_is_far_away_makes_the_same_plan_as_none(case):
    ragged, start, stop, _ = case
    assert window(ragged, start, stop, None) == window(ragged, start, stop, stop + ragged.context[1])


def test_a_window_in_the_middle():
    assert window(Ragged("frames", context=(2, 3), hop=10), 5, 9, 100) == Window(
        lo=3, hi=12, pad_left=0, pad_right=0, crop=20, keep=40
    )


def test_where_input_comes_step_by_step_windows_grow_by_doubling():
    ragged = Ragged("frames", context=(20, 22))
    assert [new_steps(ragged, start, 24, sequential=True) for start in (0, 8, 32, 56, 200)] == [
        24,
        24,
        32,
        56,
        84,
    ]
    assert [new_steps(ragged, start, 24) for start in (0, 8, 200)] == [24, 84, 84]
    assert new_steps(ragged, 8, 96, sequential=True) == 96


def test_an_utterance_too_short_for_a_net_is_made_longer_at_its_end():
    ragged = Ragged("frames", context=(2, 2), hop=3, least=10)
    assert window(ragged, 0, 4, 4) == Window(lo=0, hi=4, pad_left=0, pad_right=6, crop=0, keep=12, repeat=6)
    assert window(ragged, 0, 20, 20).pad_right == 0
