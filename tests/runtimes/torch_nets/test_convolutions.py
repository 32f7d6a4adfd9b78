"""Convolutions and pools are ONNX Runtime's, with every way to pad."""

import numpy as np
import pytest
from onnx import helper

pytest.importorskip("torch", reason="the extra 'torch' is not installed")

pytestmark = pytest.mark.unit

RANDOM = np.random.default_rng(6)


def some(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def conv(x, w, bias=None, op="Conv", **attributes):
    names = ["x", "w"] if bias is None else ["x", "w", "b"]
    constants = {"w": w} if bias is None else {"w": w, "b": bias}
    return helper.make_node(op, names, ["y"], **attributes), {"x": x}, constants


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"pads": [1, 1]},
        {"pads": [2, 0]},
        {"strides": [2], "pads": [0, 1]},
        {"dilations": [3], "pads": [3, 3]},
        {"auto_pad": "SAME_UPPER"},
        {"auto_pad": "SAME_LOWER"},
        {"auto_pad": "SAME_UPPER", "strides": [2]},
        {"auto_pad": "VALID"},
    ],
)
@pytest.mark.parametrize("kernel", [3, 4])
def test_one_axis_is_convolved(agrees, attributes, kernel):
    agrees(*conv(some(2, 4, 11), some(6, 4, kernel), some(6), **attributes))


def test_channels_may_be_in_groups(agrees):
    agrees(*conv(some(1, 6, 9), some(6, 1, 3), group=6))
    agrees(*conv(some(1, 6, 9), some(4, 3, 3), some(4), group=2))


def test_two_axes_and_three_are_convolved(agrees):
    agrees(*conv(some(1, 2, 1, 9), some(3, 2, 1, 3), some(3), pads=[0, 1, 0, 1], dilations=[1, 1]))
    agrees(*conv(some(1, 2, 5, 9), some(3, 2, 2, 3), pads=[0, 1, 1, 2], strides=[1, 2]))
    agrees(*conv(some(1, 2, 4, 5, 6), some(3, 2, 2, 2, 2)))


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"strides": [2], "pads": [1, 1]},
        {"strides": [3], "pads": [1, 2]},
        {"strides": [4], "pads": [2, 2], "output_padding": [1]},
        {"dilations": [2]},
        {"strides": [2], "auto_pad": "SAME_UPPER"},
        {"strides": [2], "auto_pad": "SAME_LOWER"},
        {"strides": [3], "output_shape": [20]},
    ],
)
def test_one_axis_is_convolved_backwards(agrees, attributes):
    agrees(*conv(some(1, 4, 7), some(4, 3, 5), some(3), op="ConvTranspose", **attributes))


def test_two_axes_are_convolved_backwards_in_groups(agrees):
    node = conv(some(1, 4, 1, 7), some(4, 2, 1, 4), op="ConvTranspose", strides=[1, 2], group=2)
    agrees(*node)


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(
    "attributes", [{}, {"strides": [2]}, {"pads": [1, 1]}, {"pads": [0, 2]}, {"auto_pad": "SAME_UPPER"}]
)
def test_windows_are_pooled(agrees, op, attributes):
    agrees(helper.make_node(op, ["x"], ["y"], kernel_shape=[3], **attributes), {"x": some(1, 2, 9)})


def test_padding_may_count_in_a_mean(agrees):
    node = helper.make_node(
        "AveragePool", ["x"], ["y"], kernel_shape=[2, 3], pads=[1, 1, 0, 1], count_include_pad=1
    )
    agrees(node, {"x": some(1, 2, 5, 9)})


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
def test_all_steps_are_pooled(agrees, op):
    agrees(helper.make_node(op, ["x"], ["y"]), {"x": some(2, 3, 4, 5)})
