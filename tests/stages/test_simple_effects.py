"""Gain, Fade and TrimSilence: louder or softer, ramps at the ends, no silence around."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxstack.core.errors import Cancelled, ConfigError, WiringError
from voxstack.core.events import LEFT_OUT, listening
from voxstack.core.ports import Port
from voxstack.core.streams import EVERYTHING, ArrayStream
from voxstack.stack.wire import wire_stack
from voxstack.testing import check_streamable, strategies

pytestmark = pytest.mark.law

LAW_TEST_OF = ("Gain.v1", "Fade.v1", "TrimSilence.v1")

RATE = 1000
"""Samples per second: so ms are samples."""

SOURCE = {"samples": Port("samples", "float32", ("samples",), Fraction(RATE))}


def wire(kind, source=SOURCE, **options):
    return wire_stack([{"type": kind, **options}], nets={}, tensors={}, source=source).blocks[0]


def changed(block, samples):
    return block.open({}, ArrayStream.over({"samples": samples})).read(EVERYTHING)["samples"]


def noise(size, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, size).astype(np.float32)


def with_silences(seed, size):
    """Noise in stretches, silence between and around them."""
    generator = np.random.default_rng(seed)
    is_loud = np.repeat(generator.integers(0, 2, size // 7 + 1), 7)[:size]
    return (noise(size, seed) * np.where(is_loud, 1, 1e-4)).astype(np.float32)


# Gain


def test_a_gain_multiplies_and_looks_nowhere():
    block = wire("Gain", gain_db=-6)
    assert (block.gives, block.timing.lookahead, block.timing.left) == (SOURCE, 0, 0)
    np.testing.assert_allclose(changed(block, noise(50)), noise(50) * 10 ** (-6 / 20), rtol=1e-6)
    assert np.abs(changed(wire("Gain", gain_db=20), noise(50))).max() > 5


@given(st.integers(0, 300), strategies.cuts(most=80))
def test_a_gain_keeps_the_law_to_the_bit(size, cut):
    check_streamable(wire("Gain", gain_db=3), tensors={}, source={"samples": noise(size)}, cuts=[cut])


# Fade


def faded(samples, rise, fall, shape):
    """Do the same to the whole at once."""

    def ramp(size):
        places = (np.arange(size) + 0.5) / max(size, 1)
        return places if shape == "linear" else np.sin(np.pi / 2 * places) ** 2

    gains = np.ones(len(samples))
    many = min(rise, len(samples))
    gains[:many] *= ramp(rise)[:many]
    many = min(fall, len(samples))
    if many:
        gains[-many:] *= ramp(fall)[::-1][-many:]
    return samples * gains


def test_a_fade_looks_ahead_as_far_as_it_falls():
    block = wire("Fade", in_ms=3, out_ms=40)
    assert (block.timing.right, block.timing.lookahead, block.gives) == (40, 40, SOURCE)


@given(
    st.integers(0, 300),
    strategies.cuts(most=80),
    st.sampled_from([0, 1, 30, 200]),
    st.sampled_from([0, 1, 30, 200]),
    st.sampled_from(["linear", "cosine"]),
)
def test_a_fade_keeps_the_law_to_the_bit_and_is_what_it_is_on_the_whole(size, cut, rise, fall, shape):
    block = wire("Fade", in_ms=rise, out_ms=fall, shape=shape)
    check_streamable(block, tensors={}, source={"samples": noise(size)}, cuts=[cut])
    np.testing.assert_allclose(changed(block, noise(size)), faded(noise(size), rise, fall, shape), atol=1e-6)


# TrimSilence


def trimmed(samples, threshold, keep, most, where):
    """Do the same to the whole at once."""
    loud = np.flatnonzero(np.abs(samples) >= threshold)
    first, last = (loud[0], loud[-1] + 1) if len(loud) else (len(samples), len(samples))
    begin = min(max(first - keep, 0), most) if where != "end" else 0
    if not len(loud):
        last = begin
    stop = max(last + keep, len(samples) - most) if where != "start" else len(samples)
    return samples[begin : max(min(stop, len(samples)), begin)]


@given(
    st.integers(0, 2**32),
    st.integers(0, 400),
    strategies.cuts(most=80),
    st.sampled_from([0, 5, 60]),
    st.sampled_from([0, 20, 1000]),
    st.sampled_from(["both", "start", "end"]),
)
def test_trimming_keeps_the_law_and_is_what_it_is_on_the_whole(seed, size, cut, keep, most, where):
    block = wire("TrimSilence", threshold_db=-40, keep_ms=keep, most_ms=most, where=where)
    samples = with_silences(seed, size)
    check_streamable(block, tensors={}, source={"samples": samples}, cuts=[cut])
    np.testing.assert_array_equal(changed(block, samples), trimmed(samples, 0.01, keep, most, where))


def test_silence_between_sounds_stays():
    samples = np.concatenate([np.zeros(50), np.ones(10), np.zeros(300), np.ones(10), np.zeros(50)])
    kept = changed(wire("TrimSilence", keep_ms=0, most_ms=100), samples.astype(np.float32))
    np.testing.assert_array_equal(kept, samples[50:-50])


def test_no_more_than_what_may_be_left_out_is_held():
    block = wire("TrimSilence", keep_ms=0, most_ms=100)
    stream = block.open({}, ArrayStream.over({"samples": np.zeros(100_000, np.float32)}))
    assert len(stream.read(10)["samples"]) == 10
    assert stream._held.nbytes < 1000 * 4


def test_what_is_no_number_is_no_silence():
    samples = np.zeros(100, np.float32)
    samples[60] = np.nan
    assert np.isnan(changed(wire("TrimSilence", keep_ms=0), samples)).sum() == 1


@given(st.integers(0, 90), st.integers(0, 20), st.integers(1, 50))
def test_trimming_tells_what_was_left_out_at_the_start_before_it_gives_any(silent, keep, step):
    samples = np.concatenate([np.zeros(silent), np.ones(10), np.zeros(40)]).astype(np.float32)
    block = wire("TrimSilence", keep_ms=keep, most_ms=60)
    events = []
    stream = block.open({}, ArrayStream.over({"samples": samples}))
    with listening(events.append):
        stream.read(step)
    lost = min(max(silent - keep, 0), 60)
    told = [(event.kind, event.values["steps"], event.values["rate"]) for event in events]
    assert told == ([(LEFT_OUT, lost, RATE)] if lost else [])


@pytest.mark.parametrize("size", [1, 4, 30])
def test_of_an_utterance_that_is_all_silence_what_is_kept_stays(size):
    assert len(changed(wire("TrimSilence", keep_ms=5), np.zeros(size, np.float32))) == min(size, 5)


# All of them


@pytest.mark.parametrize("entry", [("Gain", {"gain_db": 1}), ("Fade", {}), ("TrimSilence", {})])
def test_a_closed_stream_is_closed(entry):
    kind, options = entry
    stream = wire(kind, **options).open({}, ArrayStream.over({"samples": noise(10)}))
    stream.close()
    stream.close()
    with pytest.raises(Cancelled):
        stream.read(1)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("Gain", {"gain_db": 61}, "$.stack[0].gain_db: got 61 dB, want -60 to 60"),
        ("Fade", {"in_ms": -1}, "$.stack[0].in_ms: got -1 ms, want 0 to 10000"),
        ("Fade", {"out_ms": 1e9}, "$.stack[0].out_ms: got 1e+09 ms, want 0 to 10000"),
        ("TrimSilence", {"threshold_db": 0}, "$.stack[0].threshold_db: got 0 dB, want -120 or more, below 0"),
        ("TrimSilence", {"keep_ms": -1}, "$.stack[0].keep_ms: got -1 ms, want 0 to 10000"),
        ("TrimSilence", {"most_ms": 10_001}, "$.stack[0].most_ms: got 10001 ms, want 0 to 10000"),
    ],
)
def test_what_is_out_of_range_is_refused(kind, options, message):
    with pytest.raises(ConfigError) as caught:
        wire(kind, **options)
    assert str(caught.value) == message


@pytest.mark.parametrize("entry", [("Gain", {"gain_db": 1}), ("Fade", {}), ("TrimSilence", {})])
def test_they_must_know_how_many_samples_there_are_a_second(entry):
    kind, options = entry
    with pytest.raises(WiringError) as caught:
        wire(kind, {"samples": Port("samples", "float32", ("samples",))}, **options)
    assert str(caught.value) == (
        "$.stack[0]: the stream above does not say how many samples per second it gives"
    )
