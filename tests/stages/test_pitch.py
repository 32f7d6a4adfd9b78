"""Pitch: higher or lower, as long as it was."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxstack.core.blocks import Timing
from voxstack.core.errors import ConfigError, WiringError
from voxstack.core.ports import Port
from voxstack.core.streams import EVERYTHING, ArrayStream
from voxstack.stack.wire import wire_stack
from voxstack.testing import check_streamable, strategies

pytestmark = pytest.mark.law

LAW_TEST_OF = ("Pitch.v1",)

RATE = 16000


def above(rate=RATE):
    return {"samples": Port("samples", "float32", ("samples",), Fraction(rate))}


def wire(semitones, source=None):
    return wire_stack(
        [{"type": "Pitch", "semitones": semitones}], nets={}, tensors={}, source=source or above()
    ).blocks[0]


def wire_both(semitones):
    """Return the two blocks that a shift is made of; the second believes in a faster clock."""
    ratio = wire(semitones).ratio
    slower = wire_stack(
        [{"type": "Tempo", "rate": float(1 / ratio)}], nets={}, tensors={}, source=above()
    ).blocks[0]
    back = wire_stack(
        [{"type": "Resample", "sample_rate": RATE}], nets={}, tensors={}, source=above(RATE * ratio)
    ).blocks[0]
    return slower, back


def fault(error, *args) -> str:
    with pytest.raises(error) as caught:
        wire(*args)
    return str(caught.value)


def through(block, samples):
    return block.open({}, ArrayStream.over({"samples": samples})).read(EVERYTHING)["samples"]


def tone(frequency):
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(2 * RATE) / RATE)).astype(np.float32)


def noise(seed, size):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, size).astype(np.float32)


def strongest(samples):
    middle = samples[8000:24000].astype(np.float64)
    power = np.abs(np.fft.rfft(middle * np.blackman(middle.size))) ** 2
    top = int(power.argmax())
    own = power[max(top - 6, 0) : top + 7].sum()
    return top * RATE / middle.size, 10 * np.log10((power.sum() - own) / own)


def test_it_keeps_time():
    block = wire(3)
    assert block.timing == Timing(left=block.delay, right=block.delay, lookahead=block.delay + 256)
    assert block.gives == above()


@given(
    st.integers(0, 2**32),
    st.integers(0, 4000),
    strategies.cuts(most=600),
    st.sampled_from([-12, -3.5, 0, 0.1, 4, 12]),
)
def test_it_keeps_the_law_to_the_bit(seed, size, cut, semitones):
    check_streamable(wire(semitones), tensors={}, source={"samples": noise(seed, size)}, cuts=[cut])


@pytest.mark.parametrize("semitones", [-12, 7, 12])
def test_it_looks_no_further_ahead_than_it_says(semitones):
    check_streamable(
        wire(semitones), tensors={}, source={"samples": noise(0, 60_000)}, cuts=[[64, 1, 2], [300], [4001]]
    )


@pytest.mark.parametrize("semitones", [-12, 12])
def test_it_is_a_tempo_and_a_resampling(semitones):
    slower, back = wire_both(semitones)
    samples = noise(1, 20_000)
    expected = through(back, through(slower, samples))
    np.testing.assert_allclose(
        through(wire(semitones), samples)[:19_000], expected[:19_000], rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("semitones", [-12, -5, -0.5, 3, 7, 12])
def test_a_tone_goes_where_it_should_and_stays_pure(semitones):
    samples = through(wire(semitones), tone(440))
    frequency, distortion_db = strongest(samples)
    assert abs(frequency / (440 * 2 ** (semitones / 12)) - 1) < 0.01
    assert distortion_db < -45
    assert samples.size == 2 * RATE


def test_a_beep_comes_when_it_did():
    samples = np.zeros(2 * RATE, np.float32)
    samples[RATE : RATE + 4000] = tone(500)[:4000]
    for semitones in (-6, 6):
        loud = np.flatnonzero(np.abs(through(wire(semitones), samples)) > 0.1)
        assert abs(loud[0] - RATE) < 0.02 * RATE
        assert abs(loud[-1] - RATE - 4000) < 0.02 * RATE


def test_at_the_same_pitch_nothing_is_touched():
    source = ArrayStream.over({"samples": tone(100)})
    assert wire(0).open({}, source) is source


@pytest.mark.parametrize("semitones", [-12.5, 13.0])
def test_more_than_an_octave_is_refused(semitones):
    assert fault(ConfigError, semitones) == (
        f"$.stack[0].semitones: got {semitones} semitones, want -12 to 12"
    )


def test_samples_without_a_rate_are_refused():
    assert fault(WiringError, 1, {"samples": Port("samples", "float32", ("samples",))}) == (
        "$.stack[0]: the stream above does not say how many samples per second it gives"
    )
