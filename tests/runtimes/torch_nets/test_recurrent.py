"""Recurrent layers are ONNX Runtime's: in both directions, with lengths, with states that begin and end."""

import numpy as np
import pytest
from onnx import helper

pytest.importorskip("torch", reason="the extra 'torch' is not installed")

pytestmark = pytest.mark.unit

RANDOM = np.random.default_rng(9)
STEPS, BATCH, INPUTS, HIDDEN = 6, 3, 4, 5
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
LENGTHS = np.array([6, 2, 4], np.int32)


def some(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def layer(op, direction="forward", *, has_bias=True, has_lengths=False, has_states=False, **attributes):
    """Return a node, what it is fed, its constants and its outputs."""
    ways, rows = (2 if direction == "bidirectional" else 1), GATES[op] * HIDDEN
    constants = {"w": some(ways, rows, INPUTS), "r": some(ways, rows, HIDDEN)}
    inputs = {"x": some(STEPS, BATCH, INPUTS)}
    names = ["x", "w", "r", "", "", ""]
    if has_bias:
        names[3], constants["b"] = "b", some(ways, 2 * rows)
    if has_lengths:
        names[4], inputs["lengths"] = "lengths", LENGTHS
    if has_states:
        names[5], inputs["h"] = "h", some(ways, BATCH, HIDDEN)
        if op == "LSTM":
            names.append("c")
            inputs["c"] = some(ways, BATCH, HIDDEN)
    outputs = ["y", "h_last", *(["c_last"] if op == "LSTM" else [])]
    node = helper.make_node(op, names, outputs, hidden_size=HIDDEN, direction=direction, **attributes)
    return node, inputs, constants, outputs


def check(agrees, *args, **choices):
    node, inputs, constants, outputs = layer(*args, **choices)
    agrees(node, inputs, constants, outputs=outputs)


each_layer = pytest.mark.parametrize(
    ("op", "attributes"), [("LSTM", {}), ("GRU", {}), ("GRU", {"linear_before_reset": 1}), ("RNN", {})]
)
each_direction = pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])


@each_layer
@each_direction
def test_a_layer_runs_in_each_direction(agrees, op, attributes, direction):
    check(agrees, op, direction, **attributes)


@each_layer
@each_direction
def test_states_begin_and_sequences_end_where_they_are_told(agrees, op, attributes, direction):
    check(agrees, op, direction, has_lengths=True, has_states=True, **attributes)


@each_layer
def test_a_layer_may_have_no_bias(agrees, op, attributes):
    check(agrees, op, has_bias=False, **attributes)


def test_states_of_cells_are_not_needed_where_nobody_reads_them(agrees):
    """Then sequences of several lengths run in torch's own kernel, not step by step."""
    node, inputs, constants, _ = layer("LSTM", "bidirectional", has_lengths=True)
    del node.output[2]
    agrees(node, inputs, constants, outputs=["y", "h_last"])


def test_a_sequence_without_steps_ends_in_the_state_that_it_began_with(toy):
    node, inputs, constants, _ = layer("GRU", has_lengths=True, has_states=True, linear_before_reset=1)
    inputs["lengths"] = np.array([6, 0, 1], np.int32)
    net = toy([node], inputs, ["y", "h_last"], constants)
    y, h = net.module()(*net.tensors())
    np.testing.assert_array_equal(h[0, 1], inputs["h"][0, 1])
    assert not y[:, 0, 1].any()


def test_activations_of_a_plain_layer_may_be_relu(agrees):
    check(agrees, "RNN", activations=["Relu"])


def test_a_batch_may_come_first(toy):
    """ONNX Runtime has no such layout; it is the same layer with its axes changed."""
    node, inputs, constants, outputs = layer("LSTM", "bidirectional")
    turned = {"x": inputs["x"].transpose(1, 0, 2).copy()}
    wanted = toy([node], inputs, outputs, constants).wanted()
    node.attribute.append(helper.make_attribute("layout", 1))
    net = toy([node], turned, outputs, constants)
    y, h, c = net.module()(*net.tensors())
    np.testing.assert_allclose(y, wanted[0].transpose(2, 0, 1, 3), atol=1e-5)
    np.testing.assert_allclose(h, wanted[1].transpose(1, 0, 2), atol=1e-5)
    np.testing.assert_allclose(c, wanted[2].transpose(1, 0, 2), atol=1e-5)


@pytest.mark.parametrize(
    ("op", "attributes", "fault"),
    [
        ("LSTM", {"activations": ["Sigmoid", "Relu", "Tanh"]}, "activations ['Sigmoid', 'Relu', 'Tanh']"),
        ("GRU", {"clip": 3.0}, "clip"),
        ("LSTM", {"input_forget": 1}, "input_forget"),
    ],
)
def test_a_layer_that_torch_lacks_is_refused_when_it_is_read(toy, op, attributes, fault):
    from voxstack.core.errors import NetError

    node, inputs, constants, outputs = layer(op, **attributes)
    with pytest.raises(NetError) as caught:
        toy([node], inputs, outputs, constants).module()
    assert str(caught.value) == (
        f"needs {op} with {fault}, which the runtime torch does not have; run it on onnxruntime"
    )


def test_peepholes_are_refused_when_they_are_read(toy):
    from voxstack.core.errors import NetError

    node, inputs, constants, outputs = layer("LSTM")
    node.input.extend(["", "p"])
    with pytest.raises(NetError) as caught:
        toy([node], inputs, outputs, {**constants, "p": some(1, 3 * HIDDEN)}).module()
    assert str(caught.value) == (
        "needs LSTM with peepholes, which the runtime torch does not have; run it on onnxruntime"
    )
