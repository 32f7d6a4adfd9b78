"""Whatever a net wants beside what flows is made for it, by position."""

from dataclasses import replace

import numpy as np
import pytest

from voxstack.core.errors import NetError
from voxstack.core.feeds import SEED, UTTERANCE, Feeds, needs
from voxstack.core.nets import NetSpec, Ragged, TensorSpec
from voxstack.core.shapes import Window

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

STEP = NetSpec(
    "step",
    "nets/step.onnx",
    "step",
    inputs={
        "memory": TensorSpec("float32", ("batch", "phonemes", 4)),
        "last": TensorSpec("float32", ("batch", 3)),
        "dropout": TensorSpec("float32", (2, "batch", 5), "uniform"),
        "eps": TensorSpec("float32", ("batch",), "normal"),
        "mask": TensorSpec("float32", ("batch", "phonemes")),
        "lengths": TensorSpec("int64", ("batch",)),
        "position": TensorSpec("int64", ()),
    },
    outputs={"last_next": TensorSpec("float32", ("batch", 3))},
    ragged=Ragged("phonemes", mask="mask", lengths="lengths"),
    state={"last": "last_next"},
)


def at(start: int, steps: int, pads: tuple[int, int] = (0, 0)) -> Window:
    """Plan a window of so many steps from there, with padding before and behind."""
    return Window(start, start + steps, *pads, crop=0, keep=steps)


def feeds() -> Feeds:
    return Feeds(SPEC, TENSORS, consumed={"x": SPEC.takes["x"]})


def test_a_net_that_draws_noise_needs_the_seed():
    assert needs(SPEC) == {**SPEC.takes, "seed": SEED, "utterance": UTTERANCE}
    quiet = NetSpec("quiet", "f", "decoder", {"x": SPEC.inputs["x"]}, {})
    assert needs(quiet) == quiet.takes


def test_a_window_holds_every_input_of_the_net():
    window = feeds().window({"x": np.ones((5, 2), np.float32)}, at(10, 5))
    assert set(window) == set(SPEC.inputs)
    SPEC.pack(window)
    assert window["scale"] == 0.5
    assert window["lengths"] == 5
    np.testing.assert_array_equal(window["mask"], np.ones((5, 1), np.float32))


def test_noise_goes_by_position_not_by_window():
    whole = feeds().window({}, at(0, 30))
    part = feeds().window({}, at(12, 7))
    for name in ("eps", "dice"):
        np.testing.assert_array_equal(part[name], whole[name][12:19])
    assert whole["eps"].min() < 0 < whole["dice"].min()


def test_noise_and_mask_are_zero_in_the_padding_and_stay_in_place_beside_it():
    plain = feeds().window({}, at(0, 4))
    padded = feeds().window({}, at(0, 4, (3, 2)))
    np.testing.assert_array_equal(padded["mask"][:, 0], [0, 0, 0, 1, 1, 1, 1, 0, 0])
    np.testing.assert_array_equal(padded["eps"][3:7], plain["eps"])
    assert not padded["eps"][:3].any()
    assert not padded["eps"][7:].any()


def test_two_random_inputs_of_a_net_differ():
    inputs = {name: TensorSpec("float32", ("frames",), "normal") for name in ("one", "two")}
    spec = NetSpec("toy", "f", "decoder", inputs, {}, Ragged("frames"))
    window = Feeds(spec, TENSORS).window({}, at(0, 50))
    assert not np.array_equal(window["one"], window["two"])


def test_no_steps_are_no_noise():
    assert feeds().window({}, at(0, 0))["eps"].shape == (0, 2)


def step_feeds(*, seed: int = 3, utterance: int = 1, spec: NetSpec = STEP) -> Feeds:
    tensors = {
        "memory": np.ones((7, 4), np.float32),
        "seed": np.array(seed),
        "utterance": np.array(utterance),
    }
    return Feeds(spec, tensors, consumed={"position": STEP.takes["position"]})


def test_what_stays_the_same_in_every_step_is_the_utterance_s_its_mask_and_its_length():
    constant = step_feeds().constant(at(0, 7))
    assert set(constant) == {"memory", "mask", "lengths"}
    np.testing.assert_array_equal(constant["mask"], np.ones(7, np.float32))
    assert constant["lengths"] == 7
    STEP.pack(constant, constant)


def test_a_recurrent_net_takes_a_whole_tensor_of_noise_each_step():
    noise = step_feeds().noise(0, 6)
    assert {name: values.shape for name, values in noise.items()} == {"dropout": (6, 2, 5), "eps": (6,)}
    assert 0 < noise["dropout"].min() < noise["dropout"].max() < 1
    STEP.pack({name: values[0] for name, values in noise.items()}, noise)


def test_noise_goes_by_the_step_not_by_how_many_are_drawn_at_once():
    whole = step_feeds().noise(0, 200)
    for start, steps in ((0, 64), (64, 64), (150, 1)):
        part = step_feeds().noise(start, steps)
        for name in ("dropout", "eps"):
            np.testing.assert_array_equal(part[name], whole[name][start : start + steps])
    assert len(np.unique(whole["dropout"])) > 0.99 * whole["dropout"].size


@pytest.mark.parametrize("other", [{"seed": 4}, {"utterance": 2}])
def test_noise_of_another_seed_or_utterance_is_other_noise(other):
    assert not np.array_equal(step_feeds(**other).noise(0, 9)["dropout"], step_feeds().noise(0, 9)["dropout"])


def test_noise_of_another_net_or_input_is_other_noise():
    renamed = replace(STEP, name="other")
    assert not np.array_equal(
        step_feeds(spec=renamed).noise(0, 9)["dropout"], step_feeds().noise(0, 9)["dropout"]
    )
    swapped = replace(STEP, inputs={**STEP.inputs, "more": STEP.inputs["dropout"]})
    noise = step_feeds(spec=swapped).noise(0, 9)
    assert not np.array_equal(noise["more"], noise["dropout"])
    np.testing.assert_array_equal(noise["dropout"], step_feeds().noise(0, 9)["dropout"])


def test_an_input_that_nobody_fills_is_refused():
    with pytest.raises(NetError) as caught:
        Feeds(SPEC, {"seed": np.array(0), "utterance": np.array(0)}, consumed={"x": SPEC.takes["x"]})
    assert str(caught.value) == "net 'toy': nothing fills input 'scale'"
