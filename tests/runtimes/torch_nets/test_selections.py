"""Elements are chosen and placed as ONNX Runtime does: negative indices, steps backwards, joined updates."""

import numpy as np
import pytest
from onnx import helper

pytest.importorskip("torch", reason="the extra 'torch' is not installed")

pytestmark = pytest.mark.unit

RANDOM = np.random.default_rng(3)
X = RANDOM.standard_normal((4, 3, 6)).astype(np.float32)


def node(op, *names, **attributes):
    return helper.make_node(op, ["x", *names], ["y"], **attributes)


def whole(*numbers):
    return np.array(numbers, np.int64)


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [
        ((1,), (3,), None, None),
        ((1, 0), (3, 99), (0, 2), None),
        ((-2,), (1 << 62,), (-1,), None),
        ((0,), (6,), (2,), (2,)),
        ((-1,), (-(1 << 62),), (2,), (-1,)),
        ((4,), (0,), (2,), (-2,)),
        ((3,), (1,), (0,), None),
    ],
)
def test_parts_are_sliced(agrees, starts, ends, axes, steps):
    constants = {"starts": whole(*starts), "ends": whole(*ends)}
    names = ["starts", "ends"]
    if axes is not None:
        names.append("axes")
        constants["axes"] = whole(*axes)
    if steps is not None:
        names.append("steps")
        constants["steps"] = whole(*steps)
    agrees(node("Slice", *names), {"x": X}, constants)


def test_where_a_slice_ends_may_be_a_value(agrees):
    constants = {"starts": whole(0), "axes": whole(2)}
    agrees(node("Slice", "starts", "ends", "axes"), {"x": X, "ends": whole(4)}, constants, is_fixed=False)


def test_old_slices_have_attributes(agrees):
    agrees(node("Slice", starts=[1], ends=[3], axes=[1]), {"x": X}, opset=9)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("indices", [np.array(1), np.array([0, -1, 2]), np.array([[0, 1], [-2, 2]])])
def test_elements_are_gathered(agrees, axis, indices):
    agrees(node("Gather", "i", axis=axis), {"x": X, "i": indices})
    agrees(node("Gather", "i", axis=axis), {"x": X}, {"i": indices})


def test_a_table_is_read_by_small_indices(agrees):
    agrees(helper.make_node("Gather", ["t", "x"], ["y"]), {"x": np.array([[1, 0]], np.int32)}, {"t": X})


def test_a_table_may_be_of_whole_numbers(agrees):
    table = np.arange(10)
    agrees(helper.make_node("Gather", ["t", "x"], ["y"]), {"x": np.array([[3, -1]])}, {"t": table})


@pytest.mark.parametrize("axis", [0, -1])
def test_elements_are_gathered_one_by_one(agrees, axis):
    agrees(node("GatherElements", "i", axis=axis), {"x": X, "i": RANDOM.integers(-3, 3, (2, 3, 2))})


@pytest.mark.parametrize("batch_dims", [0, 1])
def test_elements_are_gathered_by_their_places(agrees, batch_dims):
    agrees(node("GatherND", "i", batch_dims=batch_dims), {"x": X, "i": RANDOM.integers(-3, 3, (4, 5, 2))})


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_rows_are_placed(agrees, reduction):
    indices = np.array([[[0], [2]], [[-1], [1]]])
    updates = RANDOM.standard_normal((2, 2, 3, 6)).astype(np.float32)
    scatter = node("ScatterND", "i", "u", reduction=reduction)
    agrees(scatter, {"x": X, "i": indices, "u": updates}, opset=18)


def test_single_elements_are_placed(agrees):
    indices, updates = np.array([[0, 1, 2], [3, 2, -1]]), np.array([7, 8], np.float32)
    agrees(node("ScatterND", "i", "u"), {"x": X, "u": updates}, {"i": indices})


@pytest.mark.parametrize("reduction", ["none", "add", "mul"])
def test_elements_are_placed_one_by_one(agrees, reduction):
    indices = np.array([[[0, 1]], [[-1, 2]]])
    updates = RANDOM.standard_normal((2, 1, 2)).astype(np.float32)
    scatter = node("ScatterElements", "i", "u", axis=2, reduction=reduction)
    agrees(scatter, {"x": X, "i": indices, "u": updates}, opset=18)


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_an_index_becomes_a_row_of_zeros_and_a_one(agrees, axis):
    hot = helper.make_node("OneHot", ["x", "depth", "values"], ["y"], axis=axis)
    constants = {"depth": np.array(5), "values": np.array([0, 1], np.float32)}
    agrees(hot, {"x": np.array([[0, 4], [-1, 2]])}, constants)


def test_places_of_what_is_not_zero_are_found(agrees):
    agrees(node("NonZero"), {"x": np.array([[1, 0, 2], [0, 0, 3]], np.float32)}, is_fixed=False)


@pytest.mark.parametrize("upper", [0, 1])
@pytest.mark.parametrize("diagonal", [None, -1, 2])
def test_triangles_are_cut(agrees, upper, diagonal):
    names = [] if diagonal is None else ["k"]
    constants = {} if diagonal is None else {"k": np.array(diagonal)}
    agrees(node("Trilu", *names, upper=upper), {"x": X}, constants)


@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
def test_sums_run_along_an_axis(agrees, exclusive, reverse):
    sums = node("CumSum", "axis", exclusive=exclusive, reverse=reverse)
    agrees(sums, {"x": X}, {"axis": np.array(-1)})
    agrees(sums, {"x": np.arange(6).reshape(2, 3)}, {"axis": np.array(1)})


@pytest.mark.parametrize(("time_axis", "batch_axis"), [(0, 1), (1, 0)])
def test_sequences_are_turned_round_within_their_lengths(agrees, time_axis, batch_axis):
    x = X if batch_axis == 1 else X.transpose(1, 0, 2).copy()
    turn = node("ReverseSequence", "lengths", time_axis=time_axis, batch_axis=batch_axis)
    agrees(turn, {"x": x, "lengths": whole(4, 1, 3)})
