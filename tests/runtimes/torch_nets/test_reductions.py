"""Reductions give what ONNX Runtime's do, along some axes, all or none."""

import numpy as np
import pytest
from onnx import helper

pytest.importorskip("torch", reason="the extra 'torch' is not installed")

pytestmark = pytest.mark.unit

X = np.abs(np.random.default_rng(4).standard_normal((2, 3, 4))).astype(np.float32) + 0.1
ALL = [
    *("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"),
    *("ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"),
]


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("op", ALL)
def test_axes_are_reduced(agrees, op, keepdims):
    by_attribute = helper.make_node(op, ["x"], ["y"], axes=[0, 2], keepdims=keepdims)
    by_input = helper.make_node(op, ["x", "axes"], ["y"], keepdims=keepdims)
    agrees(by_attribute, {"x": X}, opset=11)
    agrees(by_input, {"x": X}, {"axes": np.array([-1, 0])}, opset=18)


@pytest.mark.parametrize("op", ALL)
def test_without_axes_all_are_reduced(agrees, op):
    agrees(helper.make_node(op, ["x"], ["y"], keepdims=0), {"x": X})


def test_no_axes_may_mean_none(agrees):
    node = helper.make_node("ReduceSum", ["x", "axes"], ["y"], noop_with_empty_axes=1)
    agrees(node, {"x": X}, {"axes": np.zeros(0, np.int64)})


@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd"])
def test_whole_numbers_stay_what_they_are(agrees, op):
    agrees(helper.make_node(op, ["x"], ["y"]), {"x": np.arange(1, 7, dtype=np.int32).reshape(2, 3)})


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize(("axis", "keepdims"), [(0, 1), (1, 0), (-1, 0)])
def test_the_place_of_the_extreme_is_found(agrees, op, axis, keepdims):
    agrees(helper.make_node(op, ["x"], ["y"], axis=axis, keepdims=keepdims), {"x": X})


@pytest.mark.parametrize("last", [0, 1])
def test_of_equals_the_first_or_the_last_is_found(agrees, last):
    x = np.array([[1, 3, 3, 0], [2, 2, 2, 2]], np.float32)
    agrees(helper.make_node("ArgMax", ["x"], ["y"], axis=1, select_last_index=last), {"x": x})
