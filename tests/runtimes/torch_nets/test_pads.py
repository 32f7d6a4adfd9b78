"""Tensors are padded as ONNX Runtime pads them: in every mode, on any axis, cut where a pad is negative."""

import numpy as np
import pytest
from onnx import helper

pytest.importorskip("torch", reason="the extra 'torch' is not installed")

pytestmark = pytest.mark.unit

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def pad(*names, **attributes):
    return helper.make_node("Pad", ["x", "pads", *names], ["y"], **attributes)


def pads(*numbers):
    return {"pads": np.array(numbers)}


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
@pytest.mark.parametrize("where", [(0, 0, 2, 0, 0, 1), (0, 1, 2, 0, 2, 3), (1, 0, 0, 0, 0, 0)])
def test_each_mode_pads_each_axis(agrees, mode, where):
    agrees(pad(mode=mode), {"x": X}, pads(*where))


@pytest.mark.parametrize("mode", ["reflect", "edge"])
def test_tensors_of_four_axes_are_padded(agrees, mode):
    agrees(pad(mode=mode), {"x": X.reshape(1, 2, 3, 4)}, pads(0, 0, 1, 3, 0, 0, 2, 1))


def test_a_tensor_goes_round(agrees):
    agrees(pad(mode="wrap"), {"x": X}, pads(0, 0, 2, 0, 1, 3), opset=19)


def test_the_value_is_said(agrees):
    constants = {**pads(0, 0, 1, 0, 0, 2), "value": np.array(-3.5, np.float32)}
    agrees(pad("value"), {"x": X}, constants)


@pytest.mark.parametrize("x", [np.arange(6).reshape(2, 3), np.array([[True, False, True]])])
def test_whole_numbers_and_truths_are_padded(agrees, x):
    agrees(pad(), {"x": x}, pads(0, 1, 0, 1))


def test_axes_may_be_named(agrees):
    agrees(pad("", "axes"), {"x": X}, {**pads(1, 2), "axes": np.array([-1])}, opset=18)


def test_a_negative_pad_cuts(agrees):
    agrees(pad(), {"x": X}, pads(0, -1, 2, 0, 0, -2))


def test_old_pads_are_attributes(agrees):
    node = helper.make_node("Pad", ["x"], ["y"], pads=[0, 0, 1, 0, 0, 2], value=2.0)
    agrees(node, {"x": X}, opset=10)
