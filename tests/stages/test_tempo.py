"""Tempo: another speed at the same pitch, exact in length, without clicks."""

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
from voxstack.stages.audio.wsola import Segments, Wsola
from voxstack.testing import check_streamable, strategies

pytestmark = pytest.mark.law

LAW_TEST_OF = ("Tempo.v1",)

RATE = 16000


def above(rate=RATE):
    return {"samples": Port("samples", "float32", ("samples",), Fraction(rate))}


def wire(rate, source=None):
    return wire_stack(
        [{"type": "Tempo", "rate": rate}], nets={}, tensors={}, source=source or above()
    ).blocks[0]


def fault(error, *args) -> str:
    with pytest.raises(error) as caught:
        wire(*args)
    return str(caught.value)


def stretched(rate, samples):
    return wire(rate).open({}, ArrayStream.over({"samples": samples})).read(EVERYTHING)["samples"]


def tone(frequency, seconds=2.0):
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


def murmur(seed, size):
    """A buzz that glides, with noise and silence in between: things that are like each other, and not."""
    generator = np.random.default_rng(seed)
    phase = np.cumsum(generator.uniform(0.005, 0.02, size))
    loudness = np.repeat(generator.choice([0.0, 0.2, 0.8], -(-size // 400)), 400)[:size]
    return (loudness * (np.mod(phase, 1) - 0.5 + generator.normal(0, 0.05, size))).astype(np.float32)


def spectrum(samples):
    """Return the strongest frequency in Hz, and all else against it in dB, of the middle half."""
    middle = samples[len(samples) // 4 : -len(samples) // 4].astype(np.float64)
    power = np.abs(np.fft.rfft(middle * np.blackman(middle.size))) ** 2
    top = int(power.argmax())
    own = power[max(top - 6, 0) : top + 7].sum()
    return top * RATE / middle.size, 10 * np.log10((power.sum() - own) / own)


def reference(rate, samples):
    """The same segments, each placed by a plain search and interpolated from the whole signal."""
    hop, search = round(RATE * 0.012), round(RATE * 0.008)
    wave = samples.astype(np.float64)

    def at(middle):
        places = middle - hop + np.arange(2 * hop)
        return np.sinc(places[:, None] - np.arange(wave.size)) @ wave

    def likeness(middle, like):
        around = np.pad(wave, 5 * hop)[max(middle + 4 * hop, 0) : max(middle + 6 * hop, 0)]
        around = np.pad(around, (0, 2 * hop - around.size))
        energy = around @ around * (like @ like)
        return around @ like / np.sqrt(energy) if energy > 1e-18 else 0.0

    place, parts = 0.0, []
    for number in range(1, int(wave.size / rate / hop) + 2):
        like, ideal = at(place + hop), int(number * hop * rate)
        middles = np.arange(ideal - search, ideal + search + 1)
        alike = [likeness(middle, like) - 1e-4 * abs(middle - ideal) / search for middle in middles]
        best = int(np.argmax(alike))
        going_on, place = place + hop, float(middles[best])
        if abs(going_on - ideal) < 1:
            place = going_on
        elif 0 < best < 2 * search and alike[best - 1] + alike[best + 1] < 2 * alike[best]:
            left, middle, right = alike[best - 1 : best + 2]
            place += (left - right) / (left - 2 * middle + right) / 2
        falling = np.cos(np.pi / 2 * np.arange(hop) / hop) ** 2
        parts.append(like[:hop] * falling + at(place)[:hop] * (1 - falling))
    return np.concatenate(parts)[: round(wave.size / rate)]


def test_its_ratio_is_the_number_that_was_written():
    block = wire(1.2)
    reach = block.segments.ahead
    assert (block.segments.hop, block.segments.search) == (192, 128)
    assert block.timing == Timing(
        Fraction(5, 6), left=reach, right=reach, lookahead=reach + 256, rounding=Fraction(1, 2)
    )
    assert block.gives == above()


@given(
    st.integers(0, 2**32),
    st.integers(0, 4000),
    strategies.cuts(most=600),
    st.sampled_from([0.25, 0.5, 0.83, 1.0, 1.01, 1.2, 2.0, 4.0]),
)
def test_it_keeps_the_law_to_the_bit(seed, size, cut, rate):
    check_streamable(wire(rate), tensors={}, source={"samples": murmur(seed, size)}, cuts=[cut])


@pytest.mark.parametrize("rate", [0.5, 0.8, 1.25, 2.0])
def test_it_places_segments_as_a_plain_search_does(rate):
    samples = np.convolve(murmur(3, 2500) + tone(180)[:2500], np.hanning(40) / 20, "same").astype(np.float32)
    got, expected = stretched(rate, samples)[: -3 * 192], reference(rate, samples)[: -3 * 192]
    assert np.sqrt(np.mean((got - expected) ** 2) / np.mean(expected**2)) < 1e-3


@pytest.mark.parametrize("rate", [0.5, 0.8, 0.95, 1.2, 1.5, 2.0])
@pytest.mark.parametrize("frequency", [90, 220, 1000, 3000])
def test_a_tone_keeps_its_pitch_and_stays_pure(frequency, rate):
    samples = stretched(rate, tone(frequency))
    pitch, distortion_db = spectrum(samples)
    assert abs(pitch / frequency - 1) < 0.01
    assert distortion_db < -45


@pytest.mark.parametrize("rate", [0.5, 0.8, 1.2, 2.0])
def test_no_join_is_a_click(rate):
    samples = tone(150)
    steepest = np.abs(np.diff(samples)).max()
    assert np.abs(np.diff(stretched(rate, samples))).max() < 1.2 * steepest


@pytest.mark.parametrize("rate", [0.5, 0.7, 1.3, 2.0])
def test_a_beep_comes_when_it_should(rate):
    samples = np.zeros(2 * RATE, np.float32)
    samples[RATE : RATE + 4000] = tone(500)[:4000]
    loud = np.flatnonzero(np.abs(stretched(rate, samples)) > 0.1)
    late_ms = 1000 * (np.array([loud[0], loud[-1]]) - np.array([RATE, RATE + 4000]) / rate) / RATE
    assert np.abs(late_ms).max() < 12 + 8 / rate


def test_silence_stays_silence():
    assert not stretched(1.3, np.zeros(5000, np.float32)).any()


def test_at_the_same_speed_nothing_is_touched():
    source = ArrayStream.over({"samples": tone(100)})
    assert wire(1.0).open({}, source) is source


def test_what_is_over_is_forgotten():
    segments = Segments.of(Fraction("1.2"), Fraction(RATE))
    stretch = Wsola(segments)
    held = []
    for _ in range(200):
        stretch.feed(murmur(1, 256), last=False)
        held.append(stretch._input.size)
    assert max(held) < 3 * segments.ahead


def test_samples_that_are_no_numbers_are_not_hidden_and_do_not_spread():
    samples = tone(200)
    samples[10_000] = np.nan
    bad = np.flatnonzero(np.isnan(stretched(1.25, samples)))
    assert bad.size
    assert abs(bad - 10_000 / 1.25).max() < 4 * 192


@pytest.mark.parametrize("rate", [0.0, -1.0, 0.24, 4.1])
def test_a_rate_out_of_range_is_refused(rate):
    assert fault(ConfigError, rate) == f"$.stack[0].rate: got {rate}, want 0.25 to 4.0"


def test_samples_without_a_rate_are_refused():
    assert fault(WiringError, 1.2, {"samples": Port("samples", "float32", ("samples",))}) == (
        "$.stack[0]: the stream above does not say how many samples per second it gives"
    )


def test_it_stretches_samples_not_mels():
    assert fault(WiringError, 1.2, {"mel": Port("mel", "float32", ("frames", 80))}) == (
        "$.stack[0]: wants 'samples' from the stream above, which gives mel"
    )
