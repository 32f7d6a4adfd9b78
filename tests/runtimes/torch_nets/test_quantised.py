"""Numbers are quantised and taken back as ONNX Runtime does, to the last whole number."""

import numpy as np
import pytest
from onnx import helper

pytest.importorskip("torch", reason="the extra 'torch' is not installed")

pytestmark = pytest.mark.unit

X = (3 * np.random.default_rng(10).standard_normal((2, 3, 5))).astype(np.float32)
ONE = {"scale": np.array(0.05, np.float32)}
EACH = {"scale": np.array([0.05, 0.1, 0.2], np.float32)}


def node(op, *names, **attributes):
    return helper.make_node(op, ["x", *names], ["y"], **attributes)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_numbers_are_quantised_and_saturate(agrees, dtype):
    zero = np.array(5, dtype)
    agrees(node("QuantizeLinear", "scale", "zero"), {"x": X}, {**ONE, "zero": zero}, atol=0)
    zeros = np.array([1, 2, 3], dtype)
    agrees(node("QuantizeLinear", "scale", "zero", axis=1), {"x": X}, {**EACH, "zero": zeros}, atol=0)


def test_without_a_zero_point_they_become_small_positive_numbers(agrees):
    agrees(node("QuantizeLinear", "scale"), {"x": X}, ONE, atol=0)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32])
def test_they_are_taken_back(agrees, dtype):
    x = np.arange(30).reshape(2, 3, 5).astype(dtype)
    zero = np.array(0 if dtype == np.int32 else 5, dtype)
    agrees(node("DequantizeLinear", "scale", "zero"), {"x": x}, {**ONE, "zero": zero})
    agrees(node("DequantizeLinear", "scale", axis=1), {"x": x}, EACH)


def test_weights_are_taken_back_once_when_the_net_is_read(toy):
    weights = np.arange(-6, 6, dtype=np.int8).reshape(3, 4)
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "scale"], ["weights"]),
        helper.make_node("MatMul", ["x", "weights"], ["y"]),
    ]
    module = toy(nodes, {"x": np.eye(3, dtype=np.float32)}, ["y"], {"w": weights, **ONE}).module()
    [kept] = [buffer for name, buffer in module.named_buffers() if name != "like"]
    np.testing.assert_allclose(kept, weights * np.float32(0.05))


def test_the_range_of_what_comes_may_say_how(agrees):
    outputs = ["y", "scale", "zero"]
    agrees(helper.make_node("DynamicQuantizeLinear", ["x"], outputs), {"x": X}, outputs=outputs)
