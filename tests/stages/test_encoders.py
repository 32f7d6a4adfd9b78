"""Encoders: every encoder net of the addon, found by itself, in the order in which they need each other."""

import numpy as np
import pytest

from voxstack.core.errors import ConfigError, WiringError
from voxstack.core.ports import Port
from voxstack.core.registry import Registry
from voxstack.stack.standard import STANDARD
from voxstack.stack.wire import wire_stack
from voxstack.stages.encoders.encoders import Encoders, in_dependency_order

pytestmark = pytest.mark.unit

IDS = ("int64", ["batch", "phonemes"])
ROW = ("float32", ["batch", "phonemes"])
REQUEST = {
    "ids": Port("ids", "int64", ("phonemes",)),
    "speed": Port("speed", "float32", ()),
    "seed": Port("seed", "int64", ()),
    "utterance": Port("utterance", "int64", ()),
}
PIPELINE = {
    "type": "StreamablePipeline",
    "sequence_block": {"type": "Encoders"},
    "streamable_block": {"type": "Upsampler"},
}


@pytest.fixture
def encoder(numpy_net):
    def make(name, function, takes, gives, **ragged):
        return numpy_net(function, takes, gives, name=name, role="encoder", **ragged)

    return make


def wire(*nets, tensors=REQUEST) -> Encoders:
    named = {net.spec.name: net for net in nets}
    pipeline = wire_stack([PIPELINE], nets=named, tensors=tensors, registry=Registry(STANDARD)).blocks[0]
    return pipeline.sequence_block


def fault(error, *nets) -> str:
    with pytest.raises(error) as caught:
        wire(*nets)
    return str(caught.value)


@pytest.fixture
def durations(encoder):
    return encoder(
        "durations", lambda ids: {"durations": ids}, {"ids": IDS}, {"durations": IDS}, axis="phonemes"
    )


@pytest.fixture
def text(encoder):
    return encoder(
        "text", lambda ids: {"x": ids.astype(np.float32)}, {"ids": IDS}, {"x": ROW}, axis="phonemes"
    )


def test_it_takes_what_no_encoder_gives_and_gives_what_all_give(encoder, durations, text):
    pitch = encoder(
        "pitch", lambda x, speed: {"pitch": x * speed}, {"x": ROW, "speed": ("float32", [])}, {"pitch": ROW}
    )
    block = wire(pitch, durations, text)
    assert set(block.takes) == {"ids", "speed"}
    assert set(block.gives) == {"durations", "x", "pitch"}
    assert [inner.net.spec.name for inner in block.blocks] == ["durations", "text", "pitch"]
    result = block.run({"ids": np.array([1, 2]), "speed": np.array(3, np.float32)})
    assert set(result) == set(block.gives)
    np.testing.assert_array_equal(result["pitch"], [3, 6])


def test_a_long_chain_runs_in_order_however_it_is_listed(encoder, durations):
    links = [
        encoder(
            f"link{n}", lambda n=n, **x: {f"x{n + 1}": x[f"x{n}"] + 1}, {f"x{n}": ROW}, {f"x{n + 1}": ROW}
        )
        for n in range(6)
    ]
    first = encoder("first", lambda ids: {"x0": ids.astype(np.float32)}, {"ids": IDS}, {"x0": ROW})
    result = wire(*links[::-1], durations, first).run({"ids": np.array([5, 7])})
    np.testing.assert_array_equal(result["x6"], [11, 13])


def test_decoder_nets_are_left_alone(durations, text, numpy_net):
    other = numpy_net(None, {"z": ROW}, {"ids": ROW}, name="other", role="decoder")
    assert len(wire(durations, text, other).blocks) == 2


def test_an_encoder_with_noise_draws_it_from_the_seed_along_its_axis(encoder, durations):
    noisy = encoder(
        "noisy",
        lambda ids, eps: {"x": eps},
        {"ids": IDS, "eps": (*ROW, "normal")},
        {"x": ROW},
        axis="phonemes",
    )
    block = wire(durations, noisy)
    assert {"seed", "utterance"} <= set(block.takes)

    def drawn(seed, utterance=0):
        tensors = {"ids": np.arange(6), "seed": np.array(seed), "utterance": np.array(utterance)}
        return block.run(tensors)["x"]

    assert drawn(1).shape == (6,)
    np.testing.assert_array_equal(drawn(1), drawn(1))
    assert not np.array_equal(drawn(1), drawn(2))
    assert not np.array_equal(drawn(1), drawn(1, utterance=1))


def test_an_encoder_with_mask_and_lengths_gets_the_number_of_phonemes(encoder, durations):
    masked = encoder(
        "masked",
        lambda ids, mask, lengths: {"x": (mask * lengths).astype(np.float32)},
        {"ids": IDS, "mask": ROW, "lengths": ("int64", ["batch"])},
        {"x": ROW},
        axis="phonemes",
        mask="mask",
        lengths="lengths",
    )
    result = wire(durations, masked).run({"ids": np.arange(4)})
    np.testing.assert_array_equal(result["x"], [4, 4, 4, 4])


def test_two_encoders_that_give_the_same_name_are_refused(encoder, durations, text):
    again = encoder("again", None, {"ids": IDS}, {"x": ROW})
    assert fault(WiringError, durations, text, again) == (
        "$.stack[0].sequence_block: encoders 'text' and 'again' both give 'x'; rename one of the outputs"
    )


def test_encoders_in_a_ring_are_refused(encoder, durations):
    one = encoder("one", None, {"b": ROW}, {"a": ROW})
    two = encoder("two", None, {"a": ROW}, {"b": ROW})
    assert fault(WiringError, durations, one, two) == (
        "$.stack[0].sequence_block: encoders 'one', 'two' wait for each other's outputs; break the ring"
    )


def test_only_the_ring_is_blamed_not_what_waits_for_it(encoder):
    one = encoder("one", None, {"b": ROW}, {"a": ROW})
    two = encoder("two", None, {"a": ROW}, {"b": ROW})
    after = encoder("after", None, {"a": ROW}, {"c": ROW})
    with pytest.raises(
        WiringError, match=r"^\$: encoders 'one', 'two' wait for each other's outputs; break the ring$"
    ):
        in_dependency_order({net.spec.name: net.spec for net in (one, two, after)}, path="$")


def test_an_encoder_that_takes_its_own_output_is_a_ring_of_one(encoder):
    own = encoder("own", None, {"x": ROW}, {"x": ROW})
    with pytest.raises(WiringError, match=r"^\$: encoder 'own' waits for its own output; break the ring$"):
        in_dependency_order({"own": own.spec}, path="$")


def test_an_addon_without_encoders_is_refused(numpy_net):
    assert fault(ConfigError, numpy_net(None, {"x": ROW}, {"y": ROW}, axis="phonemes")) == (
        "$.stack[0].sequence_block: this addon has no net of role 'encoder'; give one of its nets that role"
    )


def test_an_input_that_nobody_gives_is_refused(encoder, durations):
    needy = encoder("needy", None, {"speeed": ("float32", [])}, {"x": ROW})
    assert fault(WiringError, durations, needy) == (
        "$.stack[0].sequence_block: wants 'speeed' from the utterance, which gives "
        "ids, speed, seed, utterance, durations; did you mean 'speed'?"
    )


def test_an_output_that_does_not_fit_the_next_encoder_is_refused(encoder, durations, text):
    wide = encoder("wide", None, {"x": ("float32", ["batch", "phonemes", 8])}, {"y": ROW})
    assert fault(WiringError, durations, text, wide) == (
        "$.stack[0].sequence_block: 'x' of the utterance does not fit (given → wanted): "
        "axes: ['phonemes'] → ['phonemes', 8]; "
        "use nets that were made for each other, or put a block that converts between them"
    )
