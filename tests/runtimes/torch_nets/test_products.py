"""Matrices are multiplied as ONNX Runtime does, those of whole numbers exactly."""

import numpy as np
import pytest
from onnx import helper

pytest.importorskip("torch", reason="the extra 'torch' is not installed")

pytestmark = pytest.mark.unit

RANDOM = np.random.default_rng(5)


def some(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    ("a", "b"),
    [((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((2, 1, 3, 4), (6, 4, 2)), ((4,), (4, 5)), ((4,), (4,))],
)
def test_matrices_are_multiplied(agrees, a, b):
    agrees(helper.make_node("MatMul", ["x", "z"], ["y"]), {"x": some(*a), "z": some(*b)})


@pytest.mark.parametrize("attributes", [{}, {"alpha": 0.5, "beta": 2.0}, {"transA": 1, "transB": 1}])
@pytest.mark.parametrize("has_bias", [False, True])
def test_a_product_may_be_turned_scaled_and_shifted(agrees, attributes, has_bias):
    a, b = (some(4, 3), some(5, 4)) if "transA" in attributes else (some(3, 4), some(4, 5))
    names = ["x", "b", "c"] if has_bias else ["x", "b"]
    constants = {"b": b, "c": some(5)} if has_bias else {"b": b}
    agrees(helper.make_node("Gemm", names, ["y"], **attributes), {"x": a}, constants)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)]),
        ("bhid,bhjd->bhij", [(1, 2, 3, 4), (1, 2, 5, 4)]),
        ("ij->j", [(3, 4)]),
    ],
)
def test_a_product_may_be_an_equation(agrees, equation, shapes):
    inputs = {f"x{place}": some(*shape) for place, shape in enumerate(shapes)}
    agrees(helper.make_node("Einsum", list(inputs), ["y"], equation=equation), inputs)


def test_whole_numbers_are_multiplied_exactly(agrees):
    a, b = RANDOM.integers(0, 256, (3, 700), np.uint8), RANDOM.integers(-128, 128, (700, 5), np.int8)
    node = helper.make_node("MatMulInteger", ["x", "z", "az", "bz"], ["y"])
    agrees(node, {"x": a, "z": b}, {"az": np.array(7, np.uint8), "bz": np.array(-3, np.int8)}, atol=0)
    agrees(helper.make_node("MatMulInteger", ["x", "z"], ["y"]), {"x": a, "z": b}, atol=0)
