"""Element by element, torch computes what ONNX Runtime does: arithmetic, logic, activations, casts."""

import numpy as np
import pytest
from onnx import TensorProto, helper

pytest.importorskip("torch", reason="the extra 'torch' is not installed")

pytestmark = pytest.mark.unit

RANDOM = np.random.default_rng(1)
X = RANDOM.standard_normal((2, 3, 5)).astype(np.float32)
POSITIVE = np.abs(X) + 0.1
WITHIN_ONE = np.tanh(X)
WHOLE = np.array([[-7, -2, -1], [0, 3, 8]])
TRUTHS = X > 0


def node(op, count=1, **attributes):
    return helper.make_node(op, ["x", "z", "w"][:count], ["y"], **attributes)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mean"])
def test_two_values_stretch_over_each_other(agrees, op):
    agrees(node(op, 2), {"x": POSITIVE, "z": POSITIVE[:, :1, :1]})


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Pow"])
def test_a_single_number_is_one_on_either_side(agrees, op):
    agrees(node(op, 2), {"x": POSITIVE}, {"z": np.array(0.3, np.float32)})
    agrees(node(op, 2), {"z": POSITIVE}, {"x": np.array([2.5], np.float32)})


def test_a_number_of_a_higher_rank_gives_its_rank(agrees):
    agrees(node("Add", 2), {"x": np.array([1, 2], np.float32)}, {"z": np.ones((1, 1, 1), np.float32)})


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Max", "Min", "Mod"])
def test_whole_numbers_stay_whole_and_divide_towards_zero(agrees, op):
    agrees(node(op, 2), {"x": WHOLE, "z": np.array([[2, -3, 5]])})
    agrees(node(op, 2), {"x": WHOLE}, {"z": np.array(2)})
    agrees(node(op, 2), {"x": WHOLE.astype(np.int32)}, {"z": np.array(-3, np.int32)})


def test_a_power_has_the_dtype_of_its_base(agrees):
    agrees(node("Pow", 2), {"x": WHOLE}, {"z": np.array(2.0, np.float32)})


def test_a_remainder_may_have_the_sign_of_the_dividend(agrees):
    agrees(node("Mod", 2, fmod=1), {"x": X}, {"z": np.array([0.3], np.float32)})


@pytest.mark.parametrize("op", ["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"])
def test_values_are_compared(agrees, op):
    agrees(node(op, 2), {"x": WHOLE, "z": WHOLE.T.reshape(2, 3)})
    agrees(node(op, 2), {"x": WHOLE}, {"z": np.array(0)})
    agrees(node(op, 2), {"z": X}, {"x": np.array(0, np.float32)})


@pytest.mark.parametrize("op", ["And", "Or", "Xor"])
def test_truths_are_joined(agrees, op):
    agrees(node(op, 2), {"x": TRUTHS, "z": TRUTHS[:, ::-1].copy()})


def test_a_condition_chooses_between_tensors_and_numbers(agrees):
    agrees(node("Where", 3), {"x": TRUTHS, "z": X, "w": -X})
    agrees(node("Where", 3), {"x": TRUTHS[:, :1], "z": X}, {"w": np.array(-1e4, np.float32)})
    agrees(node("Where", 3), {"x": TRUTHS}, {"z": np.array(1), "w": np.array([0])})


@pytest.mark.parametrize(
    "op",
    [
        *(
            "Identity",
            "Abs",
            "Neg",
            "Sign",
            "Exp",
            "Floor",
            "Ceil",
            "Erf",
            "Sin",
            "Cos",
            "Atan",
            "Sinh",
            "Cosh",
        ),
        *("Relu", "LeakyRelu", "Elu", "Selu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Softplus"),
        *("Softsign", "ThresholdedRelu", "Celu", "IsNaN", "IsInf"),
    ],
)
def test_one_value_is_changed(agrees, op):
    agrees(node(op), {"x": 3 * X})


@pytest.mark.parametrize("op", ["Log", "Sqrt", "Reciprocal"])
def test_positive_values_are_changed(agrees, op):
    agrees(node(op), {"x": POSITIVE})


@pytest.mark.parametrize("op", ["Tan", "Asin", "Acos"])
def test_small_values_are_changed(agrees, op):
    agrees(node(op), {"x": WITHIN_ONE})


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("LeakyRelu", {"alpha": 0.3}),
        ("Elu", {"alpha": 0.7}),
        ("Celu", {"alpha": 0.7}),
        ("Selu", {"alpha": 1.2, "gamma": 0.9}),
        ("HardSigmoid", {"alpha": 0.4, "beta": 0.6}),
        ("ThresholdedRelu", {"alpha": 0.2}),
        ("IsInf", {"detect_negative": 0}),
    ],
)
def test_an_activation_has_its_own_numbers(agrees, op, attributes):
    x = X.copy()
    x[0, 0, :2] = (np.inf, -np.inf) if op == "IsInf" else 0
    agrees(node(op, **attributes), {"x": x})


@pytest.mark.parametrize(
    ("op", "attributes"), [("Mish", {}), ("Gelu", {}), ("Gelu", {"approximate": "tanh"})]
)
def test_newer_activations_are_there(agrees, op, attributes):
    agrees(node(op, **attributes), {"x": X}, opset=20, atol=1e-4)


def test_halves_are_rounded_to_even(agrees):
    agrees(node("Round"), {"x": np.array([0.5, 1.5, 2.5, -0.5, -1.5, 1.2], np.float32)})


def test_a_slope_a_channel_holds_for_what_is_negative(agrees):
    agrees(node("PRelu", 2), {"x": X}, {"z": np.array([[0.1], [0.2], [0.3]], np.float32)})


@pytest.mark.parametrize(("least", "most"), [(-0.5, 0.5), (-0.5, None), (None, 0.5)])
def test_values_are_clipped_on_one_side_or_both(agrees, least, most):
    limits = {"low": least, "high": most}
    names = [name if value is not None else "" for name, value in limits.items()]
    constants = {name: np.array(value, np.float32) for name, value in limits.items() if value is not None}
    agrees(helper.make_node("Clip", ["x", *names], ["y"]), {"x": X}, constants)


def test_limits_may_be_tensors(agrees):
    agrees(node("Clip", 3), {"x": X, "z": np.array(-0.2, np.float32), "w": np.array(0.3, np.float32)})


@pytest.mark.parametrize(
    "number", [TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL, TensorProto.DOUBLE]
)
def test_values_are_cast(agrees, number):
    agrees(node("Cast", to=number), {"x": 3 * X})


@pytest.mark.parametrize("x", [WHOLE, TRUTHS, WHOLE.astype(np.int32)])
def test_whole_numbers_and_truths_become_floats(agrees, x):
    agrees(node("Cast", to=TensorProto.FLOAT), {"x": x})


def test_a_value_is_cast_like_another(agrees):
    agrees(node("CastLike", 2), {"x": 3 * X, "z": WHOLE})


def test_nothing_is_dropped(agrees):
    agrees(node("Dropout"), {"x": X})
    agrees(helper.make_node("Dropout", ["x"], ["y", "mask"]), {"x": X}, outputs=("y", "mask"))


def test_not_turns_truths_round(agrees):
    agrees(node("Not"), {"x": TRUTHS})
