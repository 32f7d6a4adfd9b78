"""Equaliser, TelephoneBand and Loudness, against filters over the whole signal and the words of BS.1770."""

import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from voxstack.core.errors import ConfigError, WiringError
from voxstack.core.ports import Port
from voxstack.core.streams import EVERYTHING, ArrayStream
from voxstack.stack.wire import wire_stack
from voxstack.stages.audio.k_weighting import k_weighting
from voxstack.stages.audio.programme import Programme
from voxstack.testing import check_streamable, strategies

pytestmark = pytest.mark.law

LAW_TEST_OF = ("Equaliser.v1", "Loudness.v1", "TelephoneBand.v1")

RATE = 16000
SECTIONS = [
    {"kind": "highpass", "frequency_hz": 80},
    {"kind": "lowshelf", "frequency_hz": 300, "gain_db": 4},
    {"kind": "peak", "frequency_hz": 2500, "gain_db": -8, "q": 2},
    {"kind": "highshelf", "frequency_hz": 5000, "gain_db": 6},
    {"kind": "lowpass", "frequency_hz": 7000},
]


def above(rate=RATE):
    return {"samples": Port("samples", "float32", ("samples",), Fraction(rate))}


def wire(kind, rate=RATE, **options):
    return wire_stack([{"type": kind, **options}], nets={}, tensors={}, source=above(rate)).blocks[0]


def changed(block, samples):
    return block.open({}, ArrayStream.over({"samples": samples})).read(EVERYTHING)["samples"]


def noise(size, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, size).astype(np.float32)


def response_db(block, hz, rate=RATE):
    """Return what a block does to a tone, measured where it has settled."""
    time = np.arange(2 * rate) / rate
    tone = np.sin(2 * np.pi * hz * time).astype(np.float32)
    return 20 * math.log10(np.std(changed(block, tone)[rate:]) / np.std(tone[rate:]))


# Equaliser and TelephoneBand


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 3000), strategies.cuts(most=700))
def test_an_equaliser_keeps_the_law_to_the_bit_and_is_what_scipy_makes_of_the_whole(seed, size, cut):
    block, samples = wire("Equaliser", sections=SECTIONS), noise(size, seed)
    check_streamable(block, tensors={}, source={"samples": samples}, cuts=[cut])
    wanted = samples.astype(float)
    for row in block.sections:
        wanted = scipy.signal.lfilter(row[:3], row[3:], wanted) if size else wanted
    np.testing.assert_allclose(changed(block, samples), wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("section", "at", "wanted"),
    [
        ({"kind": "lowpass", "frequency_hz": 1000}, [(100, 0), (1000, -3.01), (4000, -28.06)], 0.1),
        ({"kind": "highpass", "frequency_hz": 1000}, [(7000, 0), (1000, -3.01), (250, -24.31)], 0.1),
        ({"kind": "peak", "frequency_hz": 1000, "gain_db": 6, "q": 4}, [(1000, 6), (100, 0), (7000, 0)], 0.1),
        ({"kind": "lowshelf", "frequency_hz": 1000, "gain_db": -6}, [(50, -6), (1000, -3), (7500, 0)], 0.1),
        ({"kind": "highshelf", "frequency_hz": 1000, "gain_db": 6}, [(50, 0), (1000, 3), (7500, 6)], 0.1),
    ],
)
def test_a_section_does_to_a_tone_what_its_name_says(section, at, wanted):
    block = wire("Equaliser", sections=[section])
    for hz, db in at:
        assert response_db(block, hz) == pytest.approx(db, abs=wanted), hz


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 3000), strategies.cuts(most=700))
def test_a_telephone_band_keeps_the_law_to_the_bit_and_is_what_scipy_makes_of_the_whole(seed, size, cut):
    block, samples = wire("TelephoneBand"), noise(size, seed)
    check_streamable(block, tensors={}, source={"samples": samples}, cuts=[cut])
    sections = scipy.signal.butter(4, [300, 3400], "bandpass", fs=RATE, output="sos")
    wanted = scipy.signal.sosfilt(sections, samples.astype(float)) if size else samples
    np.testing.assert_allclose(changed(block, samples), wanted, atol=1e-6)


def test_a_telephone_carries_speech_and_neither_rumble_nor_hiss():
    block = wire("TelephoneBand")
    assert response_db(block, 1000) == pytest.approx(0, abs=0.1)
    assert response_db(block, 300) == pytest.approx(-3, abs=0.1)
    assert response_db(block, 3400) == pytest.approx(-3, abs=0.1)
    assert response_db(block, 100) < -35
    assert response_db(block, 7000) < -35


def test_a_filter_says_how_long_it_remembers():
    block = wire("TelephoneBand")
    impulse = np.zeros(20_000, np.float32)
    impulse[0] = 1
    after = changed(block, impulse)[block.timing.left :]
    assert block.timing.lookahead == 0
    assert 100 < block.timing.left < 10_000
    assert np.abs(after).max() < 1e-4


# Loudness


def bs1770(samples, rate):
    """Return the integrated loudness of the whole, word by word, by the filters given for 48 kHz."""
    assert rate == 48000
    shelf = [1.53512485958697, -2.69169618940638, 1.19839281085285], [1, -1.69065929318241, 0.73248077421585]
    high_pass = [1, -2, 1], [1, -1.99004745483398, 0.99007225036621]
    weighted = scipy.signal.lfilter(*high_pass, scipy.signal.lfilter(*shelf, samples.astype(float)))
    size, step = int(0.4 * rate), int(0.1 * rate)
    powers = np.array(
        [np.mean(weighted[at : at + size] ** 2) for at in range(0, len(weighted) - size + 1, step)]
    )
    loudness = -0.691 + 10 * np.log10(np.maximum(powers, 1e-20))
    above_first = powers[loudness > -70]
    gate = -0.691 + 10 * np.log10(above_first.mean()) - 10
    return -0.691 + 10 * np.log10(powers[(loudness > -70) & (loudness > gate)].mean())


def speech(rate, seconds=12, seed=0):
    """Noise that swells and pauses as speech does."""
    generator = np.random.default_rng(seed)
    size = round(rate * seconds)
    swell = np.repeat(generator.choice([0, 0.02, 0.1, 0.3], size=4 * seconds + 1), rate // 4)[:size]
    return (generator.standard_normal(size) * swell * 0.3).astype(np.float32)


def test_the_filters_are_those_of_the_recommendation_at_48_khz():
    shelf, high_pass = k_weighting(48000.0)
    np.testing.assert_allclose(shelf[:3], [1.53512485958697, -2.69169618940638, 1.19839281085285], atol=1e-9)
    np.testing.assert_allclose(shelf[4:], [-1.69065929318241, 0.73248077421585], atol=1e-9)
    np.testing.assert_allclose(high_pass[4:], [-1.99004745483398, 0.99007225036621], atol=1e-9)


@pytest.mark.parametrize("rate", [16000, 22050, 24000, 44100])
@pytest.mark.parametrize("hz", [50, 100, 500, 1000])
def test_at_another_sample_rate_the_filters_weigh_as_at_48_khz(rate, hz):
    def gain(of):
        return abs(scipy.signal.sosfreqz(k_weighting(float(of)), [hz], fs=of)[1][0])

    assert 20 * math.log10(gain(rate) / gain(48000)) == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_a_programme_is_as_loud_as_the_recommendation_says(seed):
    samples = speech(48000, seed=seed)
    programme = Programme(k_weighting(48000.0))
    for at in range(0, len(samples), 4800):
        programme.hear(samples[at : at + 4800])
    assert programme.lufs == pytest.approx(bs1770(samples, 48000), abs=0.1)


def test_a_full_scale_tone_is_at_minus_three():
    tone = np.sin(2 * np.pi * 997 * np.arange(3 * 22050) / 22050).astype(np.float32)
    programme = Programme(k_weighting(22050.0))
    for at in range(0, len(tone), 2205):
        programme.hear(tone[at : at + 2205])
    assert programme.lufs == pytest.approx(-3.01, abs=0.05)


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 20_000), strategies.cuts(most=4000))
def test_loudness_keeps_the_law_to_the_bit(seed, size, cut):
    samples = speech(RATE, seconds=2, seed=seed)[:size]
    check_streamable(wire("Loudness"), tensors={}, source={"samples": samples}, cuts=[cut])


@pytest.mark.parametrize("level_db", [-12, 0, 12])
def test_what_is_said_ends_up_as_loud_as_wanted(level_db):
    samples = (speech(48000) * 10 ** (level_db / 20)).astype(np.float32)
    block = wire("Loudness", 48000, target_lufs=-23, most_db=30)
    spoken = changed(block, samples)
    assert len(spoken) == len(samples)
    assert bs1770(spoken[48000 * 3 :], 48000) == pytest.approx(-23, abs=1.5)


def test_the_gain_goes_no_further_than_it_may_and_nothing_is_over_the_ceiling():
    quiet = (speech(RATE) * 1e-3).astype(np.float32)
    spoken = changed(wire("Loudness", most_db=6), quiet)
    assert np.abs(spoken).max() <= 2 * np.abs(quiet).max()
    loud = changed(wire("Loudness", target_lufs=-3, most_db=40, ceiling_db=-6), speech(RATE))
    assert np.abs(loud).max() <= 10 ** (-6 / 20) + 1e-6


def test_silence_stays_silence():
    np.testing.assert_array_equal(changed(wire("Loudness"), np.zeros(9000, np.float32)), 0)


def test_an_utterance_shorter_than_a_block_is_measured_as_one():
    tone = (0.01 * np.sin(np.arange(2000) / 3)).astype(np.float32)
    spoken = changed(wire("Loudness", target_lufs=-30, most_db=40), tone)
    assert 1.5 < np.std(spoken) / np.std(tone) < 10


# What is no number


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize(
    ("kind", "options"), [("Equaliser", {"sections": SECTIONS}), ("TelephoneBand", {}), ("Loudness", {})]
)
@pytest.mark.filterwarnings("ignore:invalid value encountered in multiply")  # infinite times 0
def test_a_sample_that_is_no_number_is_not_hidden_and_spoils_its_own_utterance_only(kind, options, bad):
    block, samples = wire(kind, **options), speech(RATE, seconds=1)
    spoilt = samples.copy()
    spoilt[9000] = bad
    before = changed(block, samples)
    after = changed(block, spoilt)
    assert not np.isfinite(after[9000])
    assert np.isfinite(after[:9000]).all()
    np.testing.assert_array_equal(changed(block, samples), before)


# What is refused


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("Equaliser", {}, "$.stack[0].sections: got no section, want at least one"),
        (
            "Equaliser",
            {"sections": [{"kind": "lowpas"}]},
            (
                "$.stack[0].sections[0].kind: got 'lowpas', want one of highpass, lowpass, peak, lowshelf, "
                "highshelf"
            ),
        ),
        (
            "Equaliser",
            {"sections": [{"kind": "peak", "frequency": 1}]},
            "$.stack[0].sections[0].frequency: unknown key 'frequency'; did you mean 'frequency_hz'?",
        ),
        (
            "Equaliser",
            {"sections": [{"kind": "lowpass", "frequency_hz": 8000}]},
            (
                "$.stack[0].sections[0].frequency_hz: got 8000 Hz, want 1 or more and less than 8000, "
                "half the sample rate"
            ),
        ),
        *(
            (
                "Equaliser",
                {"sections": [{"kind": "lowpass", "frequency_hz": hz}]},
                (
                    f"$.stack[0].sections[0].frequency_hz: got {hz} Hz, want 1 or more and less than 8000, "
                    "half the sample rate"
                ),
            )
            for hz in (9000, 0, -5)
        ),
        (
            "Equaliser",
            {"sections": [{"kind": "lowpass"}]},
            "$.stack[0].sections[0].frequency_hz: got nothing, want a number",
        ),
        (
            "Equaliser",
            {"sections": [{"kind": "lowpass", "frequency_hz": 900, "gain_db": 3}]},
            "$.stack[0].sections[0].gain_db: a lowpass has no gain; leave it out",
        ),
        (
            "Equaliser",
            {"sections": [{"kind": "peak", "frequency_hz": 900}]},
            "$.stack[0].sections[0].gain_db: got nothing, want a number from -40 to 40",
        ),
        (
            "Equaliser",
            {"sections": [{"kind": "lowpass", "frequency_hz": 900, "q": True}]},
            "$.stack[0].sections[0].q: got True, want a number from 0.05 to 50",
        ),
        (
            "TelephoneBand",
            {"high_hz": 9000},
            (
                "$.stack[0]: got 300 to 9000 Hz, want edges 1 Hz apart or more, from 1 Hz to below 8000, "
                "half the sample rate"
            ),
        ),
        ("Loudness", {"target_lufs": 3}, "$.stack[0].target_lufs: got 3 LUFS, want -70 to 0"),
        ("Loudness", {"most_db": -1}, "$.stack[0].most_db: got -1 dB, want 0 to 60"),
        ("Loudness", {"ahead_ms": 9000}, "$.stack[0].ahead_ms: got 9000 ms, want 0 to 3000"),
        (
            "Loudness",
            {"ceiling_db": 1},
            "$.stack[0].ceiling_db: got 1 dB, want -60 to 0: nothing is louder than full scale",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(kind, options, message):
    with pytest.raises(ConfigError) as caught:
        wire(kind, **options)
    assert str(caught.value) == message


@pytest.mark.parametrize("kind", ["TelephoneBand", "Loudness"])
def test_without_scipy_the_extra_is_named(monkeypatch, kind):
    monkeypatch.setitem(__import__("sys").modules, "scipy.signal", None)
    with pytest.raises(ConfigError) as caught:
        wire(kind)
    assert str(caught.value) == (
        '$.stack[0]: scipy, which filters, is not installed; pip install "voxstack[effects]"'
    )


def test_they_must_know_how_many_samples_there_are_a_second():
    with pytest.raises(WiringError):
        wire_stack(
            [{"type": "TelephoneBand"}],
            nets={},
            tensors={},
            source={"samples": Port("samples", "float32", ("samples",))},
        )
