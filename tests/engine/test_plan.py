"""Chunks start small and grow."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxstack.engine.plan import ChunkPlan

pytestmark = pytest.mark.unit


def sizes(count, *, rate=22050, frame=256, plan=ChunkPlan()):  # noqa: B008 - frozen
    found = []
    for _ in range(count):
        found.append(plan.next_samples(sum(found), sample_rate=rate, frame_samples=frame))
    return found


def test_first_chunk_is_at_least_90_ms():
    assert sizes(1)[0] / 22050 >= 0.09


def test_no_chunk_is_more_than_three_times_what_was_given_before_it():
    found = sizes(12)
    assert all(size <= 3 * sum(found[:place]) + 256 for place, size in enumerate(found) if place)


@given(rate=st.integers(8000, 48000), frame=st.integers(1, 1024))
def test_chunks_are_whole_frames_never_shrink_and_stay_below_the_bound(rate, frame):
    found = sizes(12, rate=rate, frame=frame)
    assert all(size % frame == 0 and size > 0 for size in found)
    assert found == sorted(found)
    assert found[-1] <= ChunkPlan().most_ms * rate / 1000 + frame
