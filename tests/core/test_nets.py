"""Nets keep their own layouts; blocks see time first and no batch."""

import numpy as np
import pytest

from voxstack.core.errors import NetError
from voxstack.core.nets import NetSpec, Ragged, TensorSpec
from voxstack.core.ports import Port

pytestmark = pytest.mark.unit


def spec(inputs=None, outputs=None, **more) -> NetSpec:
    return NetSpec(
        name="toy", file="nets/toy.onnx", role="decoder", inputs=inputs or {}, outputs=outputs or {}, **more
    )


LAYOUTS = {
    "channels first": (("batch", 3, "frames"), ("frames", 3), lambda x: x.T[None]),
    "time first": (("batch", "frames", 3), ("frames", 3), lambda x: x[None]),
    "batch second": (("frames", "batch", 3), ("frames", 3), lambda x: x[:, None]),
    "batch last": ((3, "frames", "batch"), ("frames", 3), lambda x: x.T[:, :, None]),
    "no batch": ((3, "frames"), ("frames", 3), lambda x: x.T),
    "an image": (("batch", 1, 3, "frames"), ("frames", 1, 3), lambda x: x.transpose(1, 2, 0)[None]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pack_and_unpack_turn_a_layout_there_and_back(layout):
    axes, seen, pack = LAYOUTS[layout]
    tensor = np.arange(5 * 3, dtype=np.float32).reshape(5, *seen[1:])
    net = spec({"x": TensorSpec("float32", axes)}, {"x": TensorSpec("float32", axes)})
    assert net.takes == {"x": Port("x", "float32", seen)}
    packed = net.pack({"x": tensor})["x"]
    np.testing.assert_array_equal(packed, pack(tensor))
    assert packed.flags.c_contiguous
    np.testing.assert_array_equal(net.unpack({"x": packed})["x"], tensor)


def test_a_scalar_is_a_scalar_with_or_without_a_batch():
    net = spec({"speed": TensorSpec("float32", ()), "speaker": TensorSpec("int64", ("batch",))})
    assert net.takes == {"speed": Port("speed", "float32", ()), "speaker": Port("speaker", "int64", ())}
    packed = net.pack({"speed": np.array(1.5, np.float32), "speaker": np.array(4)})
    assert packed["speed"].shape == ()
    np.testing.assert_array_equal(packed["speaker"], [4])


def test_a_port_with_no_named_axis_keeps_its_order():
    assert spec({"g": TensorSpec("float32", ("batch", 512, 1))}).takes["g"].axes == (512, 1)


def test_pack_takes_what_it_needs_and_leaves_the_rest():
    net = spec({"x": TensorSpec("float32", ("frames",))})
    assert set(net.pack({"x": np.zeros(3, np.float32), "y": np.zeros(1)})) == {"x"}


def test_pack_and_unpack_do_only_what_is_named():
    tensor = TensorSpec("float32", ("batch", 2, "frames"))
    net = spec({"x": tensor, "h": tensor}, {"y": tensor, "h_next": tensor}, state={"h": "h_next"})
    tensors = {name: np.ones((5, 2), np.float32) for name in ("x", "h")}
    assert set(net.pack(tensors, ["x"])) == {"x"}
    assert set(net.pack({"x": tensors["x"]}, ["x"])) == {"x"}
    assert net.pack({}, []) == {}
    assert net.unpack({"y": np.ones((1, 2, 5), np.float32)}, ["y"])["y"].shape == (5, 2)


def test_what_is_one_number_a_batch_comes_back_as_a_tensor():
    net = spec(outputs={"stop": TensorSpec("float32", ("batch",))})
    stop = net.unpack({"stop": np.array([0.5], np.float32)})["stop"]
    assert isinstance(stop, np.ndarray)
    assert (stop.shape, stop) == ((), 0.5)


def test_noise_mask_lengths_and_state_are_nobody_s_to_fill():
    net = spec(
        {
            "x": TensorSpec("float32", ("frames",)),
            "eps": TensorSpec("float32", ("frames",), "normal"),
            "mask": TensorSpec("float32", ("frames",)),
            "lengths": TensorSpec("int64", ("batch",)),
            "h": TensorSpec("float32", (4,)),
        },
        {"y": TensorSpec("float32", ("frames",)), "h_next": TensorSpec("float32", (4,))},
        ragged=Ragged("frames", mask="mask", lengths="lengths"),
        state={"h": "h_next"},
    )
    assert set(net.takes) == {"x"}
    assert set(net.gives) == {"y"}


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"y": np.zeros(3, np.float32)}, "net 'toy': input 'x' is missing; got ['y']"),
        ({"x": np.zeros((3, 2))}, "net 'toy': x: got dtype float64, want float32"),
        ({"x": np.zeros((3, 4), np.float32)}, "net 'toy': x: got shape [3, 4], want [frames, 2]"),
        ({"x": np.zeros(3, np.float32)}, "net 'toy': x: got shape [3], want [frames, 2]"),
    ],
)
def test_pack_refuses_what_the_net_cannot_take(tensors, message):
    with pytest.raises(NetError) as caught:
        spec({"x": TensorSpec("float32", ("batch", 2, "frames"))}).pack(tensors)
    assert str(caught.value) == message


def test_pack_refuses_what_is_named_and_missing():
    tensor = TensorSpec("float32", ("frames",))
    with pytest.raises(NetError) as caught:
        spec({"x": tensor, "y": tensor}).pack({"x": np.zeros(3, np.float32)}, ["y"])
    assert str(caught.value) == "net 'toy': input 'y' is missing; got ['x']"


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (np.zeros((2, 5), np.float32), "net 'toy': gave y: shape [2, 5], said [batch, 2, frames]"),
        (np.zeros((1, 3, 5), np.float32), "net 'toy': gave y: got shape [5, 3], want [frames, 2]"),
        (np.zeros((1, 2, 5)), "net 'toy': gave y: got dtype float64, want float32"),
    ],
)
def test_unpack_refuses_what_the_addon_did_not_say(result, message):
    with pytest.raises(NetError) as caught:
        spec(outputs={"y": TensorSpec("float32", ("batch", 2, "frames"))}).unpack({"y": result})
    assert str(caught.value) == message
