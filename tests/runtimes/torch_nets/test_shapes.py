"""Shapes change as ONNX Runtime changes them; what follows from sizes alone is computed without a tensor."""

import numpy as np
import pytest
from onnx import helper

torch = pytest.importorskip("torch", reason="the extra 'torch' is not installed")

pytestmark = pytest.mark.unit

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def node(op, *names, **attributes):
    return helper.make_node(op, ["x", *names], ["y"], **attributes)


def whole(*numbers):
    return np.array(numbers, np.int64)


@pytest.mark.parametrize("attributes", [{}, {"start": 1}, {"start": -2, "end": -1}, {"end": 2}])
def test_a_shape_is_read(agrees, attributes):
    agrees(node("Shape", **attributes), {"x": X})


def test_a_size_is_read(agrees):
    agrees(node("Size"), {"x": X})


@pytest.mark.parametrize("shape", [(6, 4), (-1,), (0, 12), (0, -1, 2), (4, 0, 2)])
def test_a_tensor_is_reshaped(agrees, shape):
    agrees(node("Reshape", "shape"), {"x": X}, {"shape": whole(*shape)})


def test_zero_may_mean_no_elements(agrees):
    agrees(node("Reshape", "shape", allowzero=1), {"x": np.zeros((0, 3), np.float32)}, {"shape": whole(3, 0)})


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1])
def test_a_tensor_becomes_a_matrix(agrees, axis):
    agrees(node("Flatten", axis=axis), {"x": X})


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("axes", [(0,), (-1,), (0, 2), (2, 0), None])
def test_axes_of_one_step_are_taken_out(agrees, axes, opset):
    x = X.reshape(1, 24, 1)
    if axes is None:
        agrees(node("Squeeze"), {"x": x}, opset=opset)
    elif opset < 13:
        agrees(node("Squeeze", axes=list(axes)), {"x": x}, opset=opset)
    else:
        agrees(node("Squeeze", "axes"), {"x": x}, {"axes": whole(*axes)})


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("axes", [(0,), (-1,), (0, 3), (4, 1)])
def test_axes_of_one_step_are_put_in(agrees, axes, opset):
    if opset < 13:
        agrees(node("Unsqueeze", axes=list(axes)), {"x": X}, opset=opset)
    else:
        agrees(node("Unsqueeze", "axes"), {"x": X}, {"axes": whole(*axes)})


@pytest.mark.parametrize("attributes", [{}, {"perm": [1, 2, 0]}])
def test_axes_change_places(agrees, attributes):
    agrees(node("Transpose", **attributes), {"x": X})


@pytest.mark.parametrize("shape", [(2, 3, 4), (5, 1, 1, 4), (3, 1)])
def test_a_tensor_is_stretched_and_may_be_wider_than_was_asked(agrees, shape):
    agrees(node("Expand", "shape"), {"x": X[:1, :, :1]}, {"shape": whole(*shape)})


def test_a_tensor_is_repeated(agrees):
    agrees(node("Tile", "repeats"), {"x": X}, {"repeats": whole(2, 1, 3)})


@pytest.mark.parametrize("axis", [0, -1])
def test_tensors_are_joined(agrees, axis):
    agrees(node("Concat", "z", "x", axis=axis), {"x": X}, {"z": X + 1})


@pytest.mark.parametrize(("opset", "parts"), [(11, [1, 3]), (17, [1, 3]), (17, None), (18, None)])
def test_a_tensor_is_split(agrees, opset, parts):
    attributes = {"axis": 2}
    if opset == 18:
        attributes["num_outputs"] = 3
    if opset == 11:
        attributes["split"] = parts
    outputs = ["y", "z", "w"] if opset == 18 else ["y", "z"]
    names = ["x", "parts"] if opset == 17 and parts else ["x"]
    split = helper.make_node("Split", names, outputs, **attributes)
    constants = {"parts": whole(*parts)} if opset == 17 and parts else {}
    x = np.concatenate([X, X[..., :1]], 2) if opset == 18 else X
    agrees(split, {"x": x}, constants, outputs=outputs, opset=opset)


def test_an_output_that_nobody_reads_may_have_no_name(toy):
    """By hand: ONNX Runtime ends the process."""
    net = toy([helper.make_node("Split", ["x"], ["", "y"], axis=0)], {"x": X}, ["y"])
    np.testing.assert_array_equal(net.module()(*net.tensors())[0], X[1:])


@pytest.mark.parametrize("value", [np.array([2.5], np.float32), np.array([7]), np.array([True])])
def test_a_shape_is_filled(agrees, value):
    from onnx import numpy_helper

    shape = helper.make_node("Shape", ["x"], ["shape"])
    fill = helper.make_node("ConstantOfShape", ["shape"], ["y"], value=numpy_helper.from_array(value))
    agrees([shape, fill], {"x": X})
    agrees([shape, fill], {"x": np.zeros((9, 11), np.float32)})  # too large to be known


@pytest.mark.parametrize("steps", [5, 200])
def test_a_range_follows_from_a_size(agrees, steps):
    agrees(
        [
            helper.make_node("Shape", ["x"], ["shape"]),
            helper.make_node("Gather", ["shape", "one"], ["steps"]),
            helper.make_node("Range", ["zero", "steps", "step"], ["places"]),
            helper.make_node("Unsqueeze", ["places", "axes"], ["row"]),
            helper.make_node("Less", ["row", "lengths"], ["y"]),
        ],
        {"x": np.zeros((2, steps), np.float32), "lengths": np.array([[2], [4]])},
        {"one": np.array(1), "zero": np.array(0), "step": np.array(1), "axes": whole(0)},
    )


def test_a_range_may_be_of_floats(agrees):
    constants = {"a": np.array(1, np.float32), "b": np.array(4, np.float32), "c": np.array(0.5, np.float32)}
    agrees(
        [helper.make_node("Range", ["a", "b", "c"], ["r"]), helper.make_node("Mul", ["r", "x"], ["y"])],
        {"x": np.array(3, np.float32)},
        constants,
    )


def test_a_range_may_follow_from_a_value(agrees):
    agrees(
        helper.make_node("Range", ["zero", "x", "one"], ["y"]),
        {"x": np.array(6)},
        {"zero": np.array(0), "one": np.array(1)},
        is_fixed=False,
    )


# Sizes


def chain(*nodes):
    """Return nodes that compute `shape` from the shape of x, and the reshape of x to it."""
    return [
        helper.make_node("Shape", ["x"], ["old"]),
        *nodes,
        helper.make_node("Reshape", ["x", "shape"], ["y"]),
    ]


def calls(module, *tensors) -> list[str]:
    """Return what torch does when a module runs."""
    with torch.profiler.profile() as profile:
        module(*tensors)
    return [event.name for event in profile.events() if event.name.startswith("aten::")]


HEADS = chain(
    helper.make_node("Gather", ["old", "two"], ["last"]),
    helper.make_node("Div", ["last", "two"], ["half"]),
    helper.make_node("Unsqueeze", ["half", "front"], ["half_row"]),
    helper.make_node("Slice", ["old", "front", "two_row"], ["before"]),
    helper.make_node("Concat", ["before", "half_row", "two_row"], ["shape"], axis=0),
)
CONSTANTS = {"two": np.array(2), "front": whole(0), "two_row": whole(2)}


def test_sizes_cost_nothing(toy):
    net = toy(HEADS, {"x": X}, ["y"], CONSTANTS)
    assert set(calls(net.module(), *net.tensors())) <= {"aten::reshape", "aten::view", "aten::_reshape_alias"}


def test_sizes_are_computed(agrees):
    agrees(HEADS, {"x": X}, CONSTANTS)


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        (
            [
                helper.make_node("ReduceProd", ["old"], ["all"], keepdims=1),
                helper.make_node("Max", ["all", "minus"], ["shape"]),
            ],
            {"minus": whole(-1)},
        ),
        (
            [
                helper.make_node("Equal", ["old", "four"], ["is_four"]),
                helper.make_node("Where", ["is_four", "minus", "old"], ["shape"]),
            ],
            {"four": whole(4), "minus": whole(-1)},
        ),
        (
            [
                helper.make_node("Split", ["old", "parts"], ["a", "b"], axis=0),
                helper.make_node("Concat", ["b", "a"], ["shape"], axis=0),
            ],
            {"parts": whole(1, 2)},
        ),
        (
            [
                helper.make_node("Cast", ["old"], ["floats"], to=1),
                helper.make_node("Sqrt", ["floats"], ["roots"]),
                helper.make_node("Mul", ["roots", "roots"], ["squares"]),
                helper.make_node("Ceil", ["squares"], ["ceils"]),
                helper.make_node("Cast", ["ceils"], ["sizes"], to=7),
                helper.make_node("ReduceSum", ["sizes"], ["sum"], keepdims=1),
                helper.make_node("Sub", ["sum", "sum"], ["zero"]),
                helper.make_node("Sub", ["zero", "one"], ["shape"]),
            ],
            {"one": whole(1)},
        ),
        (
            [
                helper.make_node("Slice", ["old", "last", "first", "axis", "minus"], ["shape"]),
            ],
            {"last": whole(-1), "first": whole(-9), "axis": whole(0), "minus": whole(-1)},
        ),
        (
            [
                helper.make_node("Mod", ["old", "three"], ["rest"]),
                helper.make_node("ReduceMin", ["rest"], ["least"], keepdims=1),
                helper.make_node("Add", ["least", "minus"], ["m"]),
                helper.make_node("Tile", ["m", "one"], ["t"]),
                helper.make_node("Expand", ["t", "one"], ["shape"]),
            ],
            {"three": whole(3), "minus": whole(-1), "one": whole(1)},
        ),
    ],
)
def test_what_follows_from_sizes_is_what_tensors_would_give(agrees, nodes, constants):
    agrees(chain(*nodes), {"x": X}, constants)


def test_a_net_may_give_a_size(agrees):
    agrees(
        [helper.make_node("Shape", ["x"], ["shape"]), helper.make_node("Gather", ["shape", "i"], ["y"])],
        {"x": X},
        {"i": np.array(-1)},
    )
