"""Chunks start small and grow."""

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxstack.engine.plan import ChunkPlan

pytestmark = pytest.mark.unit


def sizes(count, **keywords):
    return list(islice(ChunkPlan().sizes(22050, frame_samples=256, **keywords), count))


def test_first_chunk_is_at_least_90_ms():
    assert sizes(1, is_first=True)[0] / 22050 >= 0.09


def test_a_later_utterance_starts_with_a_longer_chunk_than_the_first_one():
    assert sizes(1, is_first=False) > sizes(1, is_first=True)


@given(rate=st.integers(8000, 48000), frame=st.integers(1, 1024))
def test_chunks_are_whole_frames_never_shrink_and_stay_below_the_bound(rate, frame):
    plan = ChunkPlan()
    found = list(islice(plan.sizes(rate, frame_samples=frame, is_first=True), 12))
    assert all(size % frame == 0 and size > 0 for size in found)
    assert found == sorted(found)
    assert found[-1] <= plan.most_ms * rate / 1000 + frame
