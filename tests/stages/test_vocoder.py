"""Vocoder: mel frames in, samples out, in the vocoder's own mel format."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import make_tone
from voxstack.core.blocks import Timing
from voxstack.core.errors import WiringError
from voxstack.core.ports import MelFormat, Port
from voxstack.stack.wire import wire_stack
from voxstack.testing import check_streamable, strategies

pytestmark = pytest.mark.law

LAW_TEST_OF = ("Vocoder.v1",)

FORMAT = MelFormat(sample_rate=16000, hop=160, bands=12, fmin=300, fmax=1400)
SOURCE = {"mel": Port("mel", "float32", ("frames", 12), Fraction(100), FORMAT)}


@pytest.fixture(scope="module")
def block(wire_addon, tone):
    return wire_addon(tone("vocoder"), source=SOURCE).blocks[0]


def voiced(mel):
    """The tone vocoder by numpy: each band's loudness, smoothed in time, times its sine."""
    padded = np.pad(mel.astype(np.float64), [(1, 1), (0, 0)])
    soft = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    time = np.arange(len(mel) * 160) / 16000
    loud = np.repeat(soft, 160, axis=0)
    return sum(loud[:, band] * np.sin(2 * np.pi * hz * time) for band, hz in enumerate(make_tone.TONES_HZ))


def test_it_takes_mels_of_its_format_and_gives_samples_at_its_rate(block):
    assert block.consumes == {"mel": replace(SOURCE["mel"], rate=None)}
    assert block.gives == {"samples": Port("samples", "float32", ("samples",), Fraction(16000))}
    assert block.timing == Timing(Fraction(160), left=1, right=1, lookahead=1 + 2 * 2)


def test_it_keeps_the_law_and_agrees_with_numpy(block):
    @given(st.integers(1, 30), strategies.cuts(most=900), st.data())
    def check(steps, cut, data):
        mel = data.draw(strategies.tensors(SOURCE, steps=steps))["mel"]
        check_streamable(
            block,
            tensors={},
            source={"mel": mel},
            cuts=[cut],
            expected={"samples": voiced(mel)},
            tolerance=2e-5,
        )

    check()


def test_no_frames_are_no_samples(block):
    check_streamable(block, tensors={}, source={"mel": np.zeros((0, 12), np.float32)})


def test_mels_of_another_format_are_refused_with_both_ends(wire_addon, tone):
    other = {"mel": replace(SOURCE["mel"], mel=MelFormat(22050, 256, 12, 0, 8000))}
    with pytest.raises(WiringError) as caught:
        wire_addon(tone("vocoder"), source=other)
    assert str(caught.value) == (
        "$.stack[0]: 'mel' of the stream above does not fit (given → wanted): "
        "sample_rate: 22050 → 16000 Hz, hop: 256 → 160 samples, fmin: 0 → 300.0 Hz, fmax: 8000 → 1400.0 Hz; "
        "use nets that were made for each other, or put a block that converts between them"
    )


def test_a_net_that_gives_something_else_than_samples_is_no_vocoder(numpy_net):
    mel = {"mel": ("float32", ["batch", 12, "frames"])}
    net = numpy_net(None, mel, {"wave": ("float32", ["batch", "samples"])}, role="vocoder", axis="frames")
    with pytest.raises(WiringError) as caught:
        wire_stack([{"type": "Vocoder"}], nets={"toy": net}, tensors={}, source=SOURCE, mel=FORMAT)
    assert str(caught.value) == "$.stack[0]: a vocoder gives 'samples'; net 'toy' gives ['wave']"
