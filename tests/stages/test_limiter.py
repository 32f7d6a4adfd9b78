"""Limiter: a fixed gain, peaks under a ceiling, quiet parts untouched."""

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

LAW_TEST_OF = ("Limiter.v1",)

SOURCE = {"samples": Port("samples", "float32", ("samples",), Fraction(16000))}
BLOCK = 16


def wire(source=SOURCE, **options):
    return wire_stack([{"type": "Limiter", **options}], nets={}, tensors={}, source=source).blocks[0]


def fault(error, source=SOURCE, **options) -> str:
    with pytest.raises(error) as caught:
        wire(source, **options)
    return str(caught.value)


def limited(block, samples):
    return block.open({}, ArrayStream.over({"samples": samples})).read(EVERYTHING)["samples"]


def reference(samples, gain, ceiling, reach):
    """The same curve, one block and one knot at a time, over the whole utterance at once."""
    loud = samples.astype(np.float64) * np.float32(gain)
    blocks = -(-len(loud) // BLOCK)
    needed = {}
    for block in range(-4 * reach, blocks + 4 * reach):
        peak = (
            max(np.abs(loud[max(block, 0) * BLOCK : (block + 1) * BLOCK]), default=0.0) if block >= 0 else 0.0
        )
        needed[block] = min(1.0, ceiling / peak) if peak > ceiling else 1.0

    def knot(place):  # stands before block `place`
        minima = [
            min(needed[block] for block in range(first, first + 2 * reach))
            for first in range(place - 2 * reach + 1, place)
        ]
        return sum(minima) / len(minima)

    out = np.empty(len(loud))
    for position, sample in enumerate(loud):
        block, part = divmod(position, BLOCK)
        left, right = knot(block), knot(block + 1)
        out[position] = sample * (left + (right - left) * part / BLOCK)
    return np.clip(out, -ceiling, ceiling)


def bursts(seed: int, size: int) -> np.ndarray:
    """Noise whose loudness jumps about, so that some of it is far over the ceiling."""
    generator = np.random.default_rng(seed)
    loudness = np.repeat(generator.choice([0.05, 0.4, 1.5], -(-size // 50)), 50)[:size]
    return (generator.standard_normal(size) * loudness).astype(np.float32)


def test_it_looks_twice_its_attack_each_way():
    block = wire(attack_ms=2.0)
    assert block.reach == 2
    assert block.timing == Timing(Fraction(1), left=80, right=80, lookahead=80 + 2 * 160)
    assert block.consumes == {"samples": Port("samples", "float32", ("samples",))}
    assert block.gives == SOURCE


@given(
    st.integers(0, 2**32), st.integers(0, 1500), strategies.cuts(most=400), st.sampled_from([1.0, 2.0, 5.0])
)
def test_it_keeps_the_law_to_the_bit(seed, size, cut, attack_ms):
    check_streamable(
        wire(gain_db=3.0, attack_ms=attack_ms), tensors={}, source={"samples": bursts(seed, size)}, cuts=[cut]
    )


@pytest.mark.parametrize("size", [1, 15, 16, 17, 500, 1000])
def test_it_agrees_with_a_loop_over_the_whole(size):
    block = wire(gain_db=3.0, attack_ms=2.0, ceiling_db=-1.0)
    samples = bursts(size, size)
    expected = reference(samples, 10 ** (3 / 20), 10 ** (-1 / 20), block.reach)
    np.testing.assert_allclose(limited(block, samples), expected, atol=2e-6)


@given(st.integers(0, 2**32), st.floats(-12, 24), st.floats(-12, 0))
def test_nothing_is_over_the_ceiling(seed, gain_db, ceiling_db):
    samples = limited(wire(gain_db=gain_db, ceiling_db=ceiling_db, attack_ms=3.0), bursts(seed, 800))
    assert np.abs(samples).max() <= np.float32(10 ** (ceiling_db / 20))


def test_quiet_samples_get_the_gain_and_nothing_else():
    samples = (np.sin(np.arange(4000) / 7) * 0.3).astype(np.float32)
    np.testing.assert_array_equal(limited(wire(), samples), samples)
    np.testing.assert_array_equal(limited(wire(gain_db=6.0), samples), samples * np.float32(10 ** (6 / 20)))


def test_far_from_a_peak_nothing_changes():
    samples = (np.sin(np.arange(8000) / 7) * 0.3).astype(np.float32)
    samples[4000] = 5.0
    block = wire(attack_ms=5.0)
    changed = np.flatnonzero(limited(block, samples) != samples)
    assert 4000 in changed
    assert changed.min() >= 4000 - block.timing.left
    assert changed.max() <= 4000 + block.timing.right


def test_the_gain_never_jumps():
    tone = np.full(8000, 0.5, np.float32)
    tone[3000:5000] = 2.0
    block = wire(attack_ms=10.0)
    gain = limited(block, tone)[:, None].ravel() / tone
    assert np.abs(np.diff(gain)).max() <= 1 / ((2 * block.reach - 1) * BLOCK)


def test_samples_that_are_no_numbers_are_not_hidden():
    samples = np.zeros(100, np.float32)
    samples[50] = np.nan
    assert np.isnan(limited(wire(), samples)).any()


def test_a_ceiling_above_full_scale_is_refused():
    assert fault(ConfigError, ceiling_db=1) == (
        "$.stack[0].ceiling_db: got 1 dB, want -60 to 0: nothing is louder than full scale"
    )


@pytest.mark.parametrize("attack_ms", [0, -1, 101])
def test_an_attack_out_of_range_is_refused(attack_ms):
    assert fault(ConfigError, attack_ms=attack_ms) == (
        f"$.stack[0].attack_ms: got {float(attack_ms)} ms, want more than 0, at most 100"
    )


def test_samples_without_a_rate_are_refused():
    assert fault(WiringError, {"samples": Port("samples", "float32", ("samples",))}) == (
        "$.stack[0]: the stream above does not say how many samples per second it gives"
    )


def test_it_limits_samples_not_mels():
    assert fault(WiringError, {"mel": Port("mel", "float32", ("frames", 80))}) == (
        "$.stack[0]: wants 'samples' from the stream above, which gives mel"
    )
