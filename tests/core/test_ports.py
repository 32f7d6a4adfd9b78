"""Ports say what fits, and where it does not."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from voxstack.core.ports import MelFormat, Port, differences, ports

pytestmark = pytest.mark.unit

MEL = MelFormat(sample_rate=22050, hop=256, bands=80, fmin=0, fmax=8000)
FRAMES = Port("mel", "float32", ("frames", 80), Fraction(22050, 256), MEL)


def test_a_port_fits_itself():
    assert differences(FRAMES, FRAMES) == []


def test_a_named_axis_fits_any_size_and_any_name_but_the_first():
    assert differences(FRAMES, replace(FRAMES, axes=("frames", "bands"))) == []
    assert (
        differences(replace(FRAMES, axes=("frames", "channels")), replace(FRAMES, axes=("frames", "bands")))
        == []
    )
    assert differences(FRAMES, replace(FRAMES, axes=("phonemes", 80))) == ["axis 0: frames → phonemes"]


def test_rates_and_mels_count_only_where_both_ends_state_them():
    assert differences(FRAMES, replace(FRAMES, rate=None, mel=None)) == []
    assert differences(replace(FRAMES, rate=None, mel=None), FRAMES) == []


def test_every_difference_is_told_with_both_ends_and_units():
    other = MelFormat(24000, 300, 100, 20, 7600, log="10", normalisation="mean-var")
    wanted = Port("mel", "float16", ("frames", 100), Fraction(80), other)
    assert differences(FRAMES, wanted) == [
        "dtype: float32 → float16",
        "axis 1: 80 → 100",
        "rate: 11025/128 → 80 Hz",
        "sample_rate: 22050 → 24000 Hz",
        "hop: 256 → 300 samples",
        "bands: 80 → 100",
        "fmin: 0 → 20 Hz",
        "fmax: 8000 → 7600 Hz",
        "log: e → 10",
        "normalisation: none → mean-var",
    ]


def test_another_number_of_axes_is_one_difference():
    assert differences(FRAMES, replace(FRAMES, axes=("frames",))) == ["axes: ['frames', 80] → ['frames']"]


def test_a_tensor_that_keeps_the_promise_has_no_fault():
    assert FRAMES.fault(np.zeros((7, 80), np.float32)) is None


@pytest.mark.parametrize(
    ("tensor", "fault"),
    [
        (np.zeros((7, 80)), "mel: got dtype float64, want float32"),
        (np.zeros((7, 81), np.float32), "mel: got shape [7, 81], want [frames, 80]"),
        (np.zeros(80, np.float32), "mel: got shape [80], want [frames, 80]"),
    ],
)
def test_a_tensor_that_breaks_it_has(tensor, fault):
    assert FRAMES.fault(tensor) == fault


def test_a_port_reads_as_a_line():
    assert str(FRAMES) == "mel float32 [frames, 80] at 86.1328 Hz"
    assert str(Port("speed", "float32", ())) == "speed float32 []"


def test_ports_are_found_by_name():
    assert ports([FRAMES, FRAMES.renamed("other")]) == {"mel": FRAMES, "other": replace(FRAMES, name="other")}
