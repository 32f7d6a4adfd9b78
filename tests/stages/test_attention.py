"""The attention's watch: it says nothing of a healthy reading, and names each way of losing the way."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxstack.core.errors import ConfigError
from voxstack.stages.decoder.attention import ENDING, AttentionLimits, AttentionWatch

pytestmark = pytest.mark.unit

RATE = Fraction(100)


def reading(positions, symbols):
    """Return attention weights that look at these symbols, a frame each, not quite sharply."""
    weights = np.full((len(positions), symbols), 0.1 / symbols, np.float32)
    weights[np.arange(len(positions)), positions] += 0.9
    return weights


def found(positions, symbols=10, *, is_over=False, chunk=1000, **limits):
    watch = AttentionWatch(AttentionLimits(**limits), symbols=symbols, frame_rate=RATE)
    findings = []
    weights = reading(positions, symbols)
    for start in range(0, len(weights), chunk):
        findings += watch.follow(weights[start : start + chunk])[1]
    return findings + (watch.end() if is_over else [])


def kinds(*arguments, **options):
    return [finding.kind for finding in found(*arguments, **options)]


HEALTHY = [0] * 20 + [1] * 5 + [2, 2, 1, 2, 3, 3, 5, 5, 4, 5, 6] + [7] * 90 + [8, 9, 9]


def test_a_healthy_reading_is_not_remarked_on():
    assert found(HEALTHY, is_over=True) == []


def test_it_tells_the_symbol_that_each_frame_reads():
    watch = AttentionWatch(AttentionLimits(), symbols=10, frame_rate=RATE)
    positions, _ = watch.follow(reading(HEALTHY, 10))
    assert positions.tolist() == HEALTHY


def test_a_stall_is_found_in_the_frame_in_which_the_time_is_up():
    (finding,) = found([0, 1, 2] + [2] * 300, most_stalled_ms=500)
    assert (finding.kind, finding.frame, finding.symbol) == ("stall", 53, 2)
    assert finding.text == "the attention read nothing new for 0.5 s, after 3 of 10 symbols"


def test_reading_again_what_was_read_is_a_stall_too():
    assert kinds([0, 1, 2] + [1, 2] * 200, most_stalled_ms=500) == ["stall"]


def test_each_stall_is_found_once():
    assert kinds([0] * 120 + [1] * 120 + [2]) == ["stall", "stall"]


def test_falling_back_is_found_once_until_it_has_caught_up():
    findings = found([0, 1, 2, 3, 4, 5, 1, 0, 1, 2, 3, 4, 5, 6, 2, 7], most_back=3)
    assert [(finding.kind, finding.frame) for finding in findings] == [("back", 6), ("back", 14)]
    assert findings[0].text == "the attention fell 4 symbols back, to symbol 1"


def test_falling_back_as_far_as_is_allowed_is_nothing():
    assert kinds([0, 1, 2, 3, 4, 5, 2, 5, 6]) == []


def test_falling_back_too_often_is_a_repeat():
    again = [0, 1, 2, 3, 4, 5]
    findings = found(again * 4, most_repeats=2)
    assert [finding.kind for finding in findings] == ["back", "back", "back", "repeat"]
    assert findings[-1].text == "the attention fell back 3 times"


def test_leaping_over_symbols_is_a_skip():
    (finding,) = found([0, 1, 8, 9], most_skipped=5)
    assert (finding.kind, finding.frame) == ("skip", 2)
    assert finding.text == "the attention leapt over 6 symbols, to symbol 8"


def test_leaping_over_the_beginning_is_a_skip_too():
    assert kinds([7, 8, 9], most_skipped=5) == ["skip"]


def test_leaping_over_as_many_as_are_allowed_is_nothing():
    assert kinds([0, 6, 9]) == []


def test_leaving_out_the_end_is_found_only_when_it_ends():
    assert kinds([0, 1, 2, 3]) == []
    (finding,) = found([0, 1, 2, 3], is_over=True)
    assert (finding.kind, finding.text) == ("unread", "the last 6 of 10 symbols were never read")


def test_of_a_short_utterance_half_may_be_left_out():
    assert kinds([0, 1], symbols=4, is_over=True) == []
    assert kinds([0], symbols=4, is_over=True) == ["unread"]


def test_leaving_out_as_much_as_is_allowed_is_nothing():
    assert kinds([0, 1, 2, 3, 4, 5], is_over=True) == []


@pytest.mark.parametrize(
    ("limit", "positions"),
    [
        ("most_stalled_ms", [0] * 1000),
        ("most_back", [0, 1, 2, 3, 4, 5, 0]),
        ("most_skipped", [0, 9]),
        ("most_unread", [0]),
    ],
)
def test_null_switches_a_check_off(limit, positions):
    others = dict.fromkeys(("most_stalled_ms", "most_back", "most_skipped", "most_unread"), None)
    assert len(found(positions, is_over=True, **{**others, limit: getattr(AttentionLimits(), limit)})) == 1
    assert found(positions, is_over=True, **others) == []


def test_null_for_repeats_counts_them_for_ever():
    assert kinds([0, 1, 2, 3, 4, 5] * 9, most_repeats=None) == ["back"] * 8


@given(st.lists(st.integers(0, 9), max_size=300), st.integers(1, 40))
def test_what_is_found_does_not_depend_on_chunks(positions, chunk):
    assert found(positions, chunk=chunk) == found(positions)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"most_stalled_ms": 0}, "$.attention.most_stalled_ms: got 0, want 1 or more, or null"),
        ({"most_back": -1}, "$.attention.most_back: got -1, want 0 or more, or null"),
        ({"most_repeats": -2}, "$.attention.most_repeats: got -2, want 0 or more, or null"),
        (
            {"ends_on": ("stall", "sleep")},
            "$.attention.ends_on[1]: got 'sleep', want one of stall, back, repeat, skip",
        ),
    ],
)
def test_limits_that_make_no_sense_are_refused(limits, message):
    with pytest.raises(ConfigError) as caught:
        AttentionLimits(**limits).check(path="$.attention")
    assert str(caught.value) == message


def test_the_defaults_are_limits_that_make_sense():
    AttentionLimits().check(path="$")
    assert set(AttentionLimits().ends_on) <= set(ENDING)
