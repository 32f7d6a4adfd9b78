"""Resample: the same sound at another rate, sample for sample what soxr makes of the whole."""

from fractions import Fraction

import numpy as np
import pytest
import soxr
from hypothesis import given
from hypothesis import strategies as st

from voxstack.core.errors import ConfigError, WiringError
from voxstack.core.ports import Port
from voxstack.core.streams import EVERYTHING, ArrayStream
from voxstack.stack.wire import wire_stack
from voxstack.testing import check_streamable, strategies

pytestmark = pytest.mark.law

LAW_TEST_OF = ("Resample.v1",)

QUALITIES = {"quick": "QQ", "low": "LQ", "medium": "MQ", "high": "HQ", "highest": "VHQ"}


def above(rate):
    return {"samples": Port("samples", "float32", ("samples",), Fraction(rate))}


def wire(sample_rate, rate=22050, source=None, **options):
    entry = {"type": "Resample", "sample_rate": sample_rate, **options}
    return wire_stack([entry], nets={}, tensors={}, source=source or above(rate)).blocks[0]


def fault(error, *args, **options) -> str:
    with pytest.raises(error) as caught:
        wire(*args, **options)
    return str(caught.value)


def resampled(block, samples):
    return block.open({}, ArrayStream.over({"samples": samples})).read(EVERYTHING)["samples"]


def noise(size, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, size).astype(np.float32)


def test_it_gives_the_new_rate_by_an_exact_ratio():
    block = wire(24000)
    assert block.gives == above(24000)
    assert (block.timing.steps, block.timing.rounding) == (Fraction(160, 147), Fraction(1, 2))
    assert block.timing.lookahead == block.delay + 256


def test_a_better_filter_looks_further_ahead():
    aheads = [
        wire(16000, quality=quality).timing.lookahead for quality in ("quick", "low", "high", "highest")
    ]
    assert aheads == sorted(set(aheads))


@given(
    st.integers(0, 2**32),
    st.integers(0, 3000),
    strategies.cuts(most=700),
    st.sampled_from([8000, 16000, 24000, 44100, 48000]),
    st.sampled_from([*QUALITIES]),
)
def test_it_keeps_the_law_to_the_bit(seed, size, cut, sample_rate, quality):
    block = wire(sample_rate, quality=quality)
    check_streamable(block, tensors={}, source={"samples": noise(size, seed)}, cuts=[cut])


@pytest.mark.parametrize(("given", "wanted"), [(192000, 8000), (8000, 192000), (44100, 48000)])
def test_it_keeps_the_law_where_soxr_holds_much_back(given, wanted):
    block = wire(wanted, given, quality="highest")
    check_streamable(block, tensors={}, source={"samples": noise(70_001)}, cuts=[[64, 1, 2], [4001]])


@pytest.mark.parametrize("quality", QUALITIES)
@pytest.mark.parametrize(("given", "wanted"), [(22050, 24000), (22050, 8000), (48000, 24000), (16000, 44100)])
@pytest.mark.parametrize("size", [0, 1, 3, 255, 256, 257, 20_000])
def test_it_is_what_soxr_makes_of_the_whole(given, wanted, size, quality):
    samples = noise(size)
    expected = soxr.resample(samples, given, wanted, quality=QUALITIES[quality])
    assert expected.size == int(Fraction(size * wanted, given) + Fraction(1, 2))
    np.testing.assert_array_equal(resampled(wire(wanted, given, quality=quality), samples), expected)


def test_a_tone_stays_the_tone_that_it_is():
    tone = np.sin(2 * np.pi * 440 * np.arange(22050) / 22050).astype(np.float32)
    expected = np.sin(2 * np.pi * 440 * np.arange(48000) / 48000)
    np.testing.assert_allclose(
        resampled(wire(48000), tone)[2000:-2000], expected[2000:-2000], rtol=0, atol=1e-4
    )


def test_at_the_same_rate_nothing_is_touched():
    block = wire(22050)
    source = ArrayStream.over({"samples": noise(10)})
    assert block.open({}, source) is source
    check_streamable(block, tensors={}, source={"samples": noise(300)})


def test_samples_that_are_no_numbers_are_not_hidden():
    samples = noise(3000)
    samples[500] = np.nan
    assert np.isnan(resampled(wire(16000), samples)).any()


@pytest.mark.parametrize("sample_rate", [999, 384_001])
def test_a_rate_out_of_range_is_refused(sample_rate):
    assert fault(ConfigError, sample_rate) == (
        f"$.stack[0].sample_rate: got {sample_rate} Hz, want 1000 to 384000"
    )


def test_a_quality_that_soxr_does_not_have_is_refused():
    assert fault(ConfigError, 16000, quality="best") == (
        "$.stack[0].quality: got 'best'; input should be 'quick', 'low', 'medium', 'high' or 'highest'"
    )


def test_samples_without_a_rate_are_refused():
    assert fault(WiringError, 16000, source={"samples": Port("samples", "float32", ("samples",))}) == (
        "$.stack[0]: the stream above does not say how many samples per second it gives"
    )


def test_it_resamples_samples_not_mels():
    assert fault(WiringError, 16000, source={"mel": Port("mel", "float32", ("frames", 80))}) == (
        "$.stack[0]: wants 'samples' from the stream above, which gives mel"
    )
