"""Whatever a net wants beside what flows is made for it, by position."""

import numpy as np
import pytest

from voxstack.core.errors import NetError
from voxstack.core.feeds import SEED, UTTERANCE, Feeds, needs
from voxstack.core.nets import NetSpec, Ragged, TensorSpec

pytestmark = pytest.mark.unit

WIDE = ("batch", 2, "frames")
SPEC = NetSpec(
    "toy",
    "nets/toy.onnx",
    "decoder",
    inputs={
        "x": TensorSpec("float32", WIDE),
        "scale": TensorSpec("float32", ()),
        "eps": TensorSpec("float32", WIDE, "normal"),
        "dice": TensorSpec("float32", ("batch", "frames"), "uniform"),
        "mask": TensorSpec("float32", ("batch", 1, "frames")),
        "lengths": TensorSpec("int64", ("batch",)),
    },
    outputs={"y": TensorSpec("float32", WIDE)},
    ragged=Ragged("frames", mask="mask", lengths="lengths"),
)
TENSORS = {
    "scale": np.array(0.5, np.float32),
    "seed": np.array(3),
    "utterance": np.array(1),
    "ids": np.zeros(4, np.int64),
}


def feeds() -> Feeds:
    return Feeds(SPEC, TENSORS, consumed={"x": SPEC.takes["x"]})


def test_a_net_that_draws_noise_needs_the_seed():
    assert needs(SPEC) == {**SPEC.takes, "seed": SEED, "utterance": UTTERANCE}
    quiet = NetSpec("quiet", "f", "decoder", {"x": SPEC.inputs["x"]}, {})
    assert needs(quiet) == quiet.takes


def test_a_window_holds_every_input_of_the_net():
    window = feeds().window({"x": np.ones((5, 2), np.float32)}, start=10, steps=5)
    assert set(window) == set(SPEC.inputs)
    SPEC.pack(window)
    assert window["scale"] == 0.5
    assert window["lengths"] == 5
    np.testing.assert_array_equal(window["mask"], np.ones((5, 1), np.float32))


def test_noise_goes_by_position_not_by_window():
    whole = feeds().window({}, start=0, steps=30)
    part = feeds().window({}, start=12, steps=7)
    for name in ("eps", "dice"):
        np.testing.assert_array_equal(part[name], whole[name][12:19])
    assert whole["eps"].min() < 0 < whole["dice"].min()


def test_noise_and_mask_are_zero_in_the_padding_and_stay_in_place_beside_it():
    plain = feeds().window({}, start=0, steps=4)
    padded = feeds().window({}, start=0, steps=4, pads=(3, 2))
    np.testing.assert_array_equal(padded["mask"][:, 0], [0, 0, 0, 1, 1, 1, 1, 0, 0])
    np.testing.assert_array_equal(padded["eps"][3:7], plain["eps"])
    assert not padded["eps"][:3].any()
    assert not padded["eps"][7:].any()


def test_two_random_inputs_of_a_net_differ():
    inputs = {name: TensorSpec("float32", ("frames",), "normal") for name in ("one", "two")}
    spec = NetSpec("toy", "f", "decoder", inputs, {}, Ragged("frames"))
    window = Feeds(spec, TENSORS).window({}, start=0, steps=50)
    assert not np.array_equal(window["one"], window["two"])


def test_no_steps_are_no_noise():
    assert feeds().window({}, start=0, steps=0)["eps"].shape == (0, 2)


def test_an_input_that_nobody_fills_is_refused():
    with pytest.raises(NetError) as caught:
        Feeds(SPEC, {"seed": np.array(0), "utterance": np.array(0)}, consumed={"x": SPEC.takes["x"]})
    assert str(caught.value) == "net 'toy': nothing fills input 'scale'"
