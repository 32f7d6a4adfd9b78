"""Each chunk is held against the moment at which a listener who plays on needs it."""

import pytest

from voxstack.engine.playout import playout
from voxstack.engine.recording import CHUNKS, Span

pytestmark = pytest.mark.unit

MS = 1_000_000


def chunks(*made):
    """Return chunks of so many ms of audio, each ready at such a moment, in ms."""
    spans, at = [], 0
    for ready, audio in made:
        facts = {"samples": audio * 16, "sample_rate": 16_000} if audio is not None else {}
        spans += [Span(CHUNKS, "chunk", at, ready * MS, None, facts), Span("net", "run", at, at, 0, {})]
        at = ready * MS
    return playout(spans)


def test_a_chunk_is_needed_when_all_before_it_is_played():
    played = chunks((10, 100), (50, 200), (60, 100), (70, None))
    assert [one.deadline_ns / MS for one in played.deliveries] == [10, 110, 310]
    assert [one.ahead_ms for one in played.deliveries] == [0, 60, 250]
    assert (played.tightest.number, played.dry, played.dry_ms) == (2, (), 0)


def test_after_a_gap_playback_goes_on_with_the_chunk_that_ended_it():
    played = chunks((10, 100), (140, 100), (250, 100))
    assert [one.ahead_ms for one in played.deliveries] == [0, -30, -10]
    assert [one.number for one in played.dry] == [2, 3]
    assert played.dry_ms == 40


def test_the_curve_falls_with_time_jumps_with_each_chunk_and_never_lies_below_zero():
    curve = chunks((10, 100), (50, 200), (400, 100)).curve()
    moments = [at for at, _ in curve]
    assert moments == sorted(set(moments))
    assert curve[0] == (10 * MS, 100)
    assert (50 * MS, 260) in curve
    assert dict(curve)[45 * MS] == 65
    assert curve[-2:] == [(400 * MS - 1, 0), (400 * MS, 100)]
    assert min(ahead for _, ahead in curve) == 0


def test_the_curve_of_a_long_request_has_not_many_points():
    assert len(chunks((10, 100), (3_600_000, 100)).curve()) < 1100


@pytest.mark.parametrize("made", [(), ((10, None),), ((10, 0),)])
def test_a_request_without_audio_has_no_deadlines(made):
    played = chunks(*made)
    assert (played.deliveries, played.tightest, played.dry_ms, played.curve()) == ((), None, 0, [])


def test_one_chunk_alone_is_never_late():
    assert chunks((10, 100)).tightest is None
