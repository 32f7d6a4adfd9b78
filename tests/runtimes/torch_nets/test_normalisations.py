"""Tensors are normalised as ONNX Runtime does, or as ONNX's own reference where that has no kernel."""

import numpy as np
import pytest
from onnx import helper

torch = pytest.importorskip("torch", reason="the extra 'torch' is not installed")

pytestmark = pytest.mark.unit

RANDOM = np.random.default_rng(8)
X = RANDOM.standard_normal((2, 4, 5)).astype(np.float32)
CHANNELS = {"s": np.array([1, 2, 0.5, -1], np.float32), "b": np.array([0, 1, -1, 3], np.float32)}


def node(op, *names, **attributes):
    return helper.make_node(op, ["x", *names], ["y"], **attributes)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("attributes", [{}, {"axis": 1}, {"axis": 0}])
def test_softmax_goes_along_an_axis_and_before_opset_13_over_a_matrix(agrees, op, opset, attributes):
    agrees(node(op, **attributes), {"x": X}, opset=opset)


def test_a_batch_is_normalised_by_what_training_found(agrees):
    found = {"m": np.array([0.1, 0.2, 0.3, 0.4], np.float32), "v": np.array([1, 2, 3, 4], np.float32)}
    agrees(node("BatchNormalization", "s", "b", "m", "v", epsilon=1e-3), {"x": X}, {**CHANNELS, **found})


def test_each_channel_of_an_utterance_is_normalised(agrees):
    agrees(node("InstanceNormalization", "s", "b", epsilon=1e-3), {"x": X}, CHANNELS)


@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("has_bias", [False, True])
def test_a_layer_is_normalised(agrees, axis, has_bias):
    shape = X.shape[axis:]
    constants = {"s": RANDOM.standard_normal(shape).astype(np.float32)}
    if has_bias:
        constants["b"] = RANDOM.standard_normal(shape).astype(np.float32)
    agrees(node("LayerNormalization", *constants, axis=axis, epsilon=1e-4), {"x": X}, constants)


def test_a_layer_says_its_mean_and_deviation(agrees):
    outputs = ["y", "mean", "deviation"]
    layer = helper.make_node("LayerNormalization", ["x", "s"], outputs)
    agrees(layer, {"x": X}, {"s": np.ones(5, np.float32)}, outputs=outputs)


def test_one_scale_may_stand_for_all(agrees):
    agrees(node("LayerNormalization", "s"), {"x": X}, {"s": np.array([2], np.float32)})


@pytest.mark.parametrize("order", [1, 2])
def test_a_vector_gets_length_one(agrees, order):
    agrees(node("LpNormalization", p=order, axis=1), {"x": X})


@pytest.mark.parametrize("opset", [18, 21])
def test_groups_of_channels_are_normalised(toy, opset):
    """By arithmetic: a scale is one number a group, since opset 21 one a channel."""
    count = 2 if opset == 18 else 4
    constants = {name: values[:count] for name, values in CHANNELS.items()}
    group = node("GroupNormalization", "s", "b", num_groups=2, epsilon=1e-3)
    net = toy([group], {"x": X}, ["y"], constants, opset)
    [got] = net.module()(*net.tensors())
    groups = X.reshape(2, 2, 10)
    normal = (groups - groups.mean(-1, keepdims=True)) / np.sqrt(groups.var(-1, keepdims=True) + 1e-3)
    scale, bias = (np.repeat(values, 4 // count)[:, None] for values in constants.values())
    np.testing.assert_allclose(got, normal.reshape(X.shape) * scale + bias, atol=1e-5)


def test_a_root_mean_square_is_one(toy):
    net = toy(
        [node("RMSNormalization", "s", epsilon=0.0)], {"x": X}, ["y"], {"s": np.ones(5, np.float32)}, 23
    )
    [got] = net.module()(*net.tensors())
    np.testing.assert_allclose((got.numpy() ** 2).mean(-1), 1, atol=1e-5)
