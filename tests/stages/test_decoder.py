"""Decoder: a net over windows of the stream above it."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from voxstack.core.blocks import Timing
from voxstack.core.errors import ConfigError, WiringError
from voxstack.core.ports import Port
from voxstack.core.streams import EVERYTHING, ArrayStream
from voxstack.stack.wire import wire_stack
from voxstack.testing import check_streamable, strategies

pytestmark = pytest.mark.law

LAW_TEST_OF = ("Decoder.v1",)

FRAMES = {"hidden": Port("hidden", "float32", ("frames", 2), Fraction(100))}
WIDE = ("float32", ["batch", 2, "frames"])
SCALARS = {name: Port(name, "int64", ()) for name in ("seed", "utterance")}
KERNEL = np.array([1, -2, 3, 5, 7], np.float32)
"""Of no symmetry, so that left and right cannot be mistaken."""


def convolution(onnx_net, **ragged):
    """Two channels of the same kernel, whose reach is two steps each side."""
    return onnx_net(
        [helper.make_node("Conv", ["hidden", "kernel"], ["mel"], pads=[2, 2], group=2)],
        {"hidden": WIDE},
        {"mel": WIDE},
        {"kernel": np.tile(KERNEL[::-1], (2, 1, 1))},
        axis="frames",
        context=(2, 2),
        **ragged,
    )


def convolved(hidden):
    return {"mel": np.stack([np.convolve(row, KERNEL)[2:-2] for row in hidden.T], axis=1)}


def wire(net, *, tensors=SCALARS, source=FRAMES, entry=None):
    stack = [{"type": "Decoder", **(entry or {})}]
    return wire_stack(stack, nets={net.spec.name: net}, tensors=tensors, source=source).blocks[0]


def fault(error, net, **more) -> str:
    with pytest.raises(error) as caught:
        wire(net, **more)
    return str(caught.value)


def test_it_takes_what_flows_and_gives_the_net_s_output_at_its_rate(onnx_net):
    block = wire(convolution(onnx_net))
    assert block.takes == {}
    assert block.consumes == {"hidden": Port("hidden", "float32", ("frames", 2))}
    assert block.gives == {"mel": Port("mel", "float32", ("frames", 2), Fraction(100))}
    assert block.timing == Timing(left=2, right=2, lookahead=2 + 2 * 4)


def test_a_hop_multiplies_the_rate(numpy_net):
    net = numpy_net(
        None, {"hidden": WIDE}, {"samples": ("float32", ["batch", "samples"])}, axis="frames", hop=160
    )
    block = wire(net)
    assert block.gives["samples"].rate == 16000
    assert block.timing.steps == 160


@pytest.mark.parametrize("pad", [None, 0.0])
def test_it_keeps_the_law_and_agrees_with_numpy(onnx_net, pad):
    block = wire(convolution(onnx_net, pad=pad))

    @given(st.integers(0, 60), strategies.cuts(), st.data())
    def check(steps, cut, data):
        source = data.draw(strategies.tensors(FRAMES, steps=steps))
        expected = convolved(source["hidden"]) if steps else {"mel": source["hidden"]}
        # The kernel's sums are taken in another order in a window of another size.
        check_streamable(block, tensors={}, source=source, cuts=[cut], expected=expected, tolerance=2e-5)

    check()


def test_a_net_that_cannot_be_chunked_keeps_the_law(numpy_net):
    net = numpy_net(
        lambda hidden: {"mel": hidden - hidden.mean(0)}, {"hidden": WIDE}, {"mel": WIDE}, axis="frames"
    )
    whole = numpy_net(net.function, {"hidden": WIDE}, {"mel": WIDE}, axis="frames", chunkable=False)
    hidden = np.random.default_rng(0).standard_normal((50, 2)).astype(np.float32)
    check_streamable(
        wire(whole), tensors={}, source={"hidden": hidden}, expected={"mel": hidden - hidden.mean(0)}
    )
    assert wire(whole).timing.lookahead is None
    with pytest.raises(AssertionError, match="differ from one whole read"):
        check_streamable(wire(net), tensors={}, source={"hidden": hidden})


def test_noise_goes_by_position_and_keeps_the_law(onnx_net):
    net = onnx_net(
        [helper.make_node("Mul", ["eps", "scale"], ["e"]), helper.make_node("Add", ["hidden", "e"], ["mel"])],
        {"hidden": WIDE, "eps": (*WIDE, "normal"), "scale": ("float32", [])},
        {"mel": WIDE},
        axis="frames",
        context=(3, 1),
        pad=0.0,
    )
    scale = Port("scale", "float32", ())
    block = wire(net, tensors={**SCALARS, "scale": scale})
    assert block.takes == {"scale": scale, **SCALARS}
    source = {"hidden": np.zeros((70, 2), np.float32)}

    def tensors(seed=0, utterance=0, scale=0.5):
        return {
            "seed": np.array(seed),
            "utterance": np.array(utterance),
            "scale": np.array(scale, np.float32),
        }

    def whole(**more):
        return block.open(tensors(**more), ArrayStream.over(source)).read(EVERYTHING)["mel"]

    check_streamable(block, tensors=tensors(), source=source)
    assert 0.3 < whole().std() < 0.7
    assert not whole(scale=0).any()
    np.testing.assert_array_equal(whole(), whole())
    assert not np.array_equal(whole(), whole(seed=1))
    assert not np.array_equal(whole(), whole(utterance=1))


@pytest.mark.parametrize("pad", [None, np.nan])
def test_a_mask_is_1_inside_the_utterance_and_0_in_padding(onnx_net, pad):
    net = onnx_net(
        [
            helper.make_node("Cast", ["mask"], ["is_inside"], to=9),
            helper.make_node("Where", ["is_inside", "hidden", "zero"], ["inside"]),
            helper.make_node("Conv", ["inside", "kernel"], ["mel"], pads=[2, 2], group=2),
        ],
        {"hidden": WIDE, "mask": ("float32", ["batch", 1, "frames"])},
        {"mel": WIDE},
        {"kernel": np.tile(KERNEL[::-1], (2, 1, 1)), "zero": np.array(0, np.float32)},
        axis="frames",
        context=(2, 2),
        pad=pad,
        mask="mask",
    )
    hidden = np.random.default_rng(0).standard_normal((40, 2)).astype(np.float32)
    # The padding, NaN, is masked away: what is left is the convolution with zeros outside.
    check_streamable(
        wire(net), tensors={}, source={"hidden": hidden}, expected=convolved(hidden), tolerance=2e-5
    )


def test_lengths_are_the_steps_of_the_window(onnx_net):
    net = onnx_net(
        [
            helper.make_node("Shape", ["hidden"], ["size"], start=2),
            helper.make_node("Equal", ["size", "lengths"], ["same"]),
            helper.make_node("Cast", ["same"], ["factor"], to=1),
            helper.make_node("Mul", ["hidden", "factor"], ["mel"]),
        ],
        {"hidden": WIDE, "lengths": ("int64", ["batch"])},
        {"mel": WIDE},
        axis="frames",
        context=(2, 2),
        lengths="lengths",
    )
    hidden = np.random.default_rng(0).standard_normal((40, 2)).astype(np.float32)
    check_streamable(wire(net), tensors={}, source={"hidden": hidden}, expected={"mel": hidden})


def test_too_little_context_is_caught_by_the_law(onnx_net, numpy_net):
    good = convolution(onnx_net)
    short = numpy_net(
        lambda hidden: good.run({"hidden": hidden}),
        {"hidden": WIDE},
        {"mel": WIDE},
        axis="frames",
        context=(2, 1),
    )
    hidden = np.random.default_rng(0).standard_normal((40, 2)).astype(np.float32)
    with pytest.raises(
        AssertionError, match=r"differ from one whole read: 'mel' at step \d+ \(step \d+ of read \d+\)"
    ):
        check_streamable(wire(short), tensors={}, source={"hidden": hidden}, tolerance=1e-4)


def test_a_net_without_a_ragged_axis_is_refused(numpy_net):
    assert fault(ConfigError, numpy_net(None, {"hidden": WIDE}, {"mel": WIDE})) == (
        "$.stack[0]: net 'toy' has no ragged axis, so it cannot run over windows; "
        'state "ragged" for it in addon.json, or make it an encoder'
    )


def test_a_net_with_state_is_refused(numpy_net):
    net = numpy_net(None, {"hidden": WIDE, "h": WIDE}, {"mel": WIDE, "h_next": WIDE}, axis="frames")
    recurrent = replace(net, spec=replace(net.spec, state={"h": "h_next"}))
    assert fault(ConfigError, recurrent) == (
        "$.stack[0]: net 'toy' has state, which a block that runs windows does not carry on; "
        "choose a block for recurrent nets"
    )


def test_a_net_that_does_not_exist_is_refused_with_the_nearest(numpy_net):
    net = numpy_net(None, {"hidden": WIDE}, {"mel": WIDE}, axis="frames", name="decoder")
    assert fault(ConfigError, net, entry={"net": "decodr"}) == (
        "$.stack[0].net: no net 'decodr'; did you mean 'decoder'?"
    )


def test_an_addon_without_a_decoder_net_is_refused(numpy_net):
    net = numpy_net(None, {"hidden": WIDE}, {"mel": WIDE}, axis="frames", role="refiner")
    assert fault(ConfigError, net) == (
        "$.stack[0]: this addon has no net of role 'decoder' ('toy' is refiner); "
        "give one of its nets that role"
    )


def test_several_decoder_nets_want_a_choice(numpy_net):
    nets = {
        name: numpy_net(None, {"hidden": WIDE}, {"mel": WIDE}, axis="frames", name=name)
        for name in ("a", "b")
    }
    with pytest.raises(ConfigError) as caught:
        wire_stack([{"type": "Decoder"}], nets=nets, tensors={}, source=FRAMES)
    assert (
        str(caught.value) == "$.stack[0]: several nets have the role 'decoder': a, b; choose one with \"net\""
    )
    assert (
        wire_stack([{"type": "Decoder", "net": "b"}], nets=nets, tensors={}, source=FRAMES).blocks[0].net
        is nets["b"]
    )


def test_a_stream_that_does_not_fit_is_refused_with_both_ends(onnx_net):
    source = {"hidden": Port("hidden", "float32", ("phonemes", 3), Fraction(100))}
    assert fault(WiringError, convolution(onnx_net), source=source) == (
        "$.stack[0]: 'hidden' of the stream above does not fit (given → wanted): "
        "axis 0: phonemes → frames, axis 1: 3 → 2; "
        "use nets that were made for each other, or put a block that converts between them"
    )


def test_a_stream_that_gives_something_else_is_refused(onnx_net):
    source = {"hiden": Port("hiden", "float32", ("frames", 2))}
    assert fault(WiringError, convolution(onnx_net), source=source) == (
        "$.stack[0]: wants 'hidden' from the stream above, which gives hiden; did you mean 'hiden'?"
    )


def test_a_control_that_nobody_fills_is_refused(numpy_net):
    net = numpy_net(None, {"hidden": WIDE, "scale": ("float32", [])}, {"mel": WIDE}, axis="frames")
    assert (
        fault(WiringError, net) == "$.stack[0]: wants 'scale' from the utterance, which gives seed, utterance"
    )
