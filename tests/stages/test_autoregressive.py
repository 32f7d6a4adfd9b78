"""AutoregressiveDecoder: frames made step by step, only when they are wanted, and guarded."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxstack.core.blocks import Timing
from voxstack.core.errors import Cancelled, ConfigError, NetError, WiringError
from voxstack.core.events import ALIGNMENT, listening
from voxstack.core.feeds import SEED, UTTERANCE
from voxstack.core.noise import Noise
from voxstack.core.ports import Port
from voxstack.core.streams import EVERYTHING
from voxstack.stack.wire import wire_stack
from voxstack.testing import check_streamable, strategies

pytestmark = pytest.mark.law

LAW_TEST_OF = ("AutoregressiveDecoder.v1",)

MEMORY = Port("memory", "float32", ("phonemes", 3))
TENSORS = {"memory": MEMORY, "seed": SEED, "utterance": UTTERANCE}
RATE = Fraction(100)

INPUTS = {"memory": ("float32", ["batch", "phonemes", 3]), "last": ("float32", ["batch", 3])}
OUTPUTS = {
    "frames": ("float32", ["batch", 2, 3]),
    "last_next": ("float32", ["batch", 3]),
}
COUNTER = {"position": ("int64", [])}
STOP = {"stop": ("float32", ["batch"])}
ALIGNMENT_OUT = {"alignment": ("float32", ["batch", "phonemes"])}
STATE = {"last": "last_next"}


def two_frames(memory, last):
    """Return two frames, each half of the one before and half of a row of the memory."""
    first = 0.5 * last + 0.5 * memory[0]
    second = 0.5 * first + 0.5 * memory[-1]
    return {"frames": np.stack([first, second]), "last_next": second}


def counting(steps, *, attends=None):
    """Return a net that says stop in step `steps` (never: None), and what it attends to, if it is asked."""

    def run(memory, last, position):
        result = two_frames(memory, last) | {"stop": np.float32(position + 1 == steps)}
        result["stop"] = np.asarray(result["stop"], np.float32)
        if attends is not None:
            row = np.zeros(len(memory), np.float32)
            row[attends(int(position))] = 1
            result["alignment"] = row
        return result

    outputs = OUTPUTS | STOP | (ALIGNMENT_OUT if attends else {})
    return run, INPUTS | COUNTER, outputs


def net_of(numpy_net, function, inputs=INPUTS, outputs=OUTPUTS, **more):
    choices = {"role": "step", "name": "step", "state": STATE, "axis": "phonemes", "chunkable": False}
    return numpy_net(function, inputs, outputs, **{**choices, **more})


def wire(net, *, tensors=TENSORS, rate=RATE, mel=None, **entry):
    stack = [{"type": "AutoregressiveDecoder", **entry}]
    return wire_stack(stack, nets={net.spec.name: net}, tensors=tensors, frame_rate=rate, mel=mel).blocks[0]


def utterance(symbols=4, seed=0):
    memory = np.random.default_rng(symbols).standard_normal((symbols, 3)).astype(np.float32)
    return {"memory": memory, "seed": np.array(seed, np.int64), "utterance": np.array(0, np.int64)}


def spoken(block, tensors=None, *, reads=EVERYTHING):
    """Return the frames of an utterance and the events that were reported while they were made."""
    events = []
    with listening(events.append):
        stream = block.open(tensors or utterance(), None)
        chunks = []
        while len(chunk := stream.read(reads)["frames"]):
            chunks.append(chunk)
        stream.close()
    return np.concatenate(chunks) if chunks else np.zeros((0, 3), np.float32), events


def fault(error, net, **more) -> str:
    with pytest.raises(error) as caught:
        wire(net, **more)
    return str(caught.value)


def test_it_heads_a_stream_and_gives_the_frames_of_its_net(numpy_net):
    block = wire(net_of(numpy_net, *counting(5)))
    assert block.takes == {"memory": MEMORY}
    assert block.consumes is None
    assert block.gives == {"frames": Port("frames", "float32", ("frames", 3), RATE, sequential=True)}
    assert block.timing == Timing()
    assert block.frames_per_step == 2


def test_a_net_that_gives_a_frame_without_saying_how_many_gives_one(numpy_net):
    def one(memory, last, position):
        return {"frames": last + 1, "last_next": last + 1, "stop": np.float32(position == 4)[()]}

    outputs = {**OUTPUTS, **STOP, "frames": ("float32", ["batch", 3])}
    net = net_of(
        numpy_net,
        lambda **given: {k: np.asarray(v, np.float32) for k, v in one(**given).items()},
        INPUTS | COUNTER,
        outputs,
    )
    frames, _ = spoken(wire(net))
    np.testing.assert_array_equal(frames, np.arange(1, 6)[:, None] * np.ones(3))


@settings(max_examples=30)
@given(symbols=st.integers(1, 9), steps=st.integers(1, 20), cut=strategies.cuts())
def test_it_keeps_the_law_and_agrees_with_a_loop(numpy_net, symbols, steps, cut):
    block = wire(net_of(numpy_net, *counting(steps)), most_frames_per_symbol=100)
    tensors = utterance(symbols)
    frames, last = [], np.zeros(3, np.float32)
    for _ in range(steps):
        result = two_frames(tensors["memory"], last)
        frames.append(result["frames"])
        last = result["last_next"]
    check_streamable(block, tensors=tensors, cuts=[cut], expected={"frames": np.concatenate(frames)})


def test_nothing_is_made_before_it_is_wanted(numpy_net):
    made = []
    run, inputs, outputs = counting(100)

    def counted(**given):
        made.append(int(given["position"]))
        return run(**given)

    stream = wire(net_of(numpy_net, counted, inputs, outputs)).open(utterance(), None)
    assert made == []
    stream.read(3)
    assert made == [0, 1]
    stream.read(1)
    assert made == [0, 1]
    stream.read(1)
    assert made == [0, 1, 2]


def test_state_begins_with_what_an_encoder_gives_under_its_name(numpy_net):
    last = Port("last", "float32", (3,))
    block = wire(net_of(numpy_net, *counting(1)), tensors={**TENSORS, "last": last})
    assert block.takes == {"memory": MEMORY, "last": last}
    tensors = utterance()
    begun, _ = spoken(block, {**tensors, "last": np.array([8, 0, 0], np.float32)})
    silent, _ = spoken(block, {**tensors, "last": np.zeros(3, np.float32)})
    np.testing.assert_array_equal(begun[0] - silent[0], np.array([4, 0, 0], np.float32))


def test_noise_is_drawn_anew_each_step_from_the_seed(numpy_net):
    def noisy(memory, last, dropout, position):
        stop = np.asarray(position == 149, np.float32)
        return {"frames": np.stack([dropout, -dropout]), "last_next": dropout, "stop": stop}

    inputs = {**INPUTS, **COUNTER, "dropout": ("float32", [3], "uniform")}
    block = wire(net_of(numpy_net, noisy, inputs, OUTPUTS | STOP), most_frames_per_symbol=100)
    assert set(block.takes) == {"memory", "seed", "utterance"}
    frames, _ = spoken(block, utterance(seed=7))
    wanted = Noise(seed=7, utterance=0, place="step.dropout", shape=(3,)).uniform(0, 150)
    np.testing.assert_array_equal(frames[::2], wanted)
    check_streamable(block, tensors=utterance(seed=7))


def test_the_mask_is_one_for_every_symbol(numpy_net):
    def masked(memory, last, mask):
        assert mask.tolist() == [1] * len(memory)
        return two_frames(memory, last)

    inputs = {**INPUTS, "mask": ("float32", ["batch", "phonemes"])}
    frames, _ = spoken(wire(net_of(numpy_net, masked, inputs, mask="mask")))
    assert len(frames)


def test_an_utterance_that_ends_before_its_first_frame_is_reported(numpy_net):
    frames, (event,) = spoken(wire(net_of(numpy_net, *counting(1)), keeps_stop_step=False))
    assert len(frames) == 0
    assert (event.kind, event.text) == ("decoder.empty", "it ended before its first frame")


@pytest.mark.parametrize(("keeps", "frames"), [(True, 10), (False, 8)])
def test_the_step_that_says_stop_belongs_to_the_utterance_or_not(numpy_net, keeps, frames):
    block = wire(net_of(numpy_net, *counting(5)), keeps_stop_step=keeps)
    assert len(spoken(block)[0]) == frames
    check_streamable(block, tensors=utterance())


def test_a_step_may_say_stop_for_each_of_its_frames(numpy_net):
    def run(memory, last, position):
        return two_frames(memory, last) | {"stop": np.array([0, position == 2], np.float32)}

    outputs = {**OUTPUTS, "stop": ("float32", ["batch", 2])}
    assert len(spoken(wire(net_of(numpy_net, run, INPUTS | COUNTER, outputs)))[0]) == 6


@pytest.mark.parametrize(("threshold", "frames"), [(0.25, 6), (0.5, 10), (0.75, 16)])
def test_the_threshold_decides_when_it_is_over(numpy_net, threshold, frames):
    def rising(memory, last, position):
        return two_frames(memory, last) | {"stop": np.asarray(0.1 * (position + 1), np.float32)}

    net = net_of(numpy_net, rising, INPUTS | COUNTER, OUTPUTS | STOP)
    assert len(spoken(wire(net, stop_threshold=threshold))[0]) == frames


def test_stop_is_not_listened_to_too_early(numpy_net):
    def at_once(memory, last):
        return two_frames(memory, last) | {"stop": np.asarray(1, np.float32)}

    net = net_of(numpy_net, at_once, INPUTS, OUTPUTS | STOP)
    assert len(spoken(wire(net, least_frames_per_symbol=2.5))[0]) == 10


def test_an_utterance_that_does_not_end_is_ended_and_reported(numpy_net):
    block = wire(net_of(numpy_net, *counting(None)), most_frames_per_symbol=5)
    frames, (event,) = spoken(block)
    assert len(frames) == 20
    assert (event.kind, event.where, event.step, event.values) == (
        "decoder.too_long",
        "step",
        20,
        {"ended": True},
    )
    assert event.text == "no end after 20 frames, 5 for each symbol; the utterance was ended"
    check_streamable(block, tensors=utterance())


def test_an_utterance_that_ends_in_its_last_frame_is_not_reported(numpy_net):
    assert spoken(wire(net_of(numpy_net, *counting(10)), most_frames_per_symbol=5))[1] == []


def test_a_net_without_stop_goes_on_to_its_bound(numpy_net):
    frames, (event,) = spoken(wire(net_of(numpy_net, two_frames)))
    assert len(frames) == 30 * 4
    assert event.kind == "decoder.too_long"


def test_a_stall_ends_the_utterance_and_is_reported(numpy_net):
    block = wire(net_of(numpy_net, *counting(None, attends=lambda step: min(step, 2))))
    frames, events = spoken(block)
    (event,) = [event for event in events if event.kind != ALIGNMENT]
    assert (event.kind, event.step) == ("attention.stall", 4 + 101)
    assert event.values == {"symbol": 2, "ended": True}
    assert event.text.endswith("after 3 of 4 symbols; the utterance was ended")
    assert len(frames) == 106
    check_streamable(block, tensors=utterance())


def test_a_finding_that_ends_nothing_is_reported_all_the_same(numpy_net):
    net = net_of(numpy_net, *counting(100, attends=lambda step: min(step, 2)))
    frames, events = spoken(wire(net, most_frames_per_symbol=99, attention={"ends_on": ()}))
    assert len(frames) == 200
    (event,) = [event for event in events if event.kind != ALIGNMENT]
    assert (event.kind, event.values["ended"]) == ("attention.stall", False)
    assert "ended" not in event.text


def test_stopping_before_everything_was_read_is_reported(numpy_net):
    net = net_of(numpy_net, *counting(4, attends=lambda step: step))
    _, events = spoken(wire(net), utterance(symbols=12))
    (event,) = [event for event in events if event.kind != ALIGNMENT]
    assert (event.kind, event.text) == ("attention.unread", "the last 8 of 12 symbols were never read")


@pytest.mark.parametrize("reads", [1, 3, 1000])
def test_it_tells_which_symbol_every_frame_speaks(numpy_net, reads):
    net = net_of(numpy_net, *counting(4, attends=lambda step: step))
    _, events = spoken(wire(net), reads=reads)
    told = [event for event in events if event.kind == ALIGNMENT]
    assert np.concatenate([event.values["positions"] for event in told]).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [event.step for event in told] == [0, 2, 4, 6]
    np.testing.assert_array_equal(
        np.concatenate([event.values["weights"] for event in told]), np.repeat(np.eye(4), 2, axis=0)
    )


def test_a_step_may_tell_of_each_of_its_frames_what_it_attended_to(numpy_net):
    def run(memory, last, position):
        weights = np.zeros((len(memory), 2), np.float32)  # as blocks see it: the named axis first
        weights[2 * position, 0] = weights[2 * position + 1, 1] = 1
        return two_frames(memory, last) | {
            "alignment": weights,
            "stop": np.asarray(position == 1, np.float32),
        }

    outputs = OUTPUTS | STOP | {"alignment": ("float32", ["batch", 2, "phonemes"])}
    _, events = spoken(wire(net_of(numpy_net, run, INPUTS | COUNTER, outputs)))
    assert [event.kind for event in events] == [ALIGNMENT, ALIGNMENT]
    assert np.concatenate([event.values["positions"] for event in events]).tolist() == [0, 1, 2, 3]


def test_a_stop_that_is_no_number_is_an_error(numpy_net):
    def run(memory, last):
        return two_frames(memory, last) | {"stop": np.asarray(np.nan, np.float32)}

    with pytest.raises(NetError) as caught:
        spoken(wire(net_of(numpy_net, run, INPUTS, OUTPUTS | STOP)))
    assert str(caught.value) == "net 'step': 'stop' is no number after 2 frames"


def test_after_close_there_is_nothing_to_read(numpy_net):
    stream = wire(net_of(numpy_net, *counting(4))).open(utterance(), None)
    stream.read(1)
    stream.close()
    with pytest.raises(Cancelled):
        stream.read(1)


def test_a_net_without_state_is_refused(numpy_net):
    message = fault(ConfigError, net_of(numpy_net, two_frames, state={}))
    assert message == (
        "$.stack[0]: net 'step' has no state, so no step of it follows from the last; "
        'state "state" for it in addon.json, or choose a block for such nets'
    )


def test_a_net_that_nothing_bounds_is_refused(numpy_net):
    message = fault(ConfigError, net_of(numpy_net, two_frames, axis="frames"))
    assert message == (
        "$.stack[0]: net 'step' does not say along which axis its symbols lie, so nothing bounds the "
        'utterance; state "ragged": {"axis": …} for it in addon.json'
    )


def test_a_net_without_frames_is_refused(numpy_net):
    outputs = {"last_next": OUTPUTS["last_next"], **STOP}
    message = fault(WiringError, net_of(numpy_net, two_frames, INPUTS, outputs))
    assert message == "$.stack[0]: net 'step' gives no frames, only ['stop']"


def test_frames_of_different_number_are_refused(numpy_net):
    outputs = {**OUTPUTS, "more": ("float32", ["batch", 3, 3])}
    message = fault(WiringError, net_of(numpy_net, two_frames, INPUTS, outputs))
    assert message == (
        "$.stack[0]: net 'step' gives {'frames': 2, 'more': 3} frames a step, "
        "want the same fixed number of each"
    )


def test_frames_of_more_axes_are_refused(numpy_net):
    outputs = {**OUTPUTS, "frames": ("float32", ["batch", 2, 3, 3])}
    message = fault(WiringError, net_of(numpy_net, two_frames, INPUTS, outputs))
    assert message == "$.stack[0]: net 'step' gives frames float32 [2, 3, 3], want [bands] or [r, bands]"


def test_what_nothing_fills_is_refused_by_name(numpy_net):
    message = fault(
        WiringError, net_of(numpy_net, two_frames), tensors={"ids": Port("ids", "int64", ("phonemes",))}
    )
    assert message == "$.stack[0]: wants 'memory' from the utterance, which gives ids"


@pytest.mark.parametrize("axes", [["batch", 4, "phonemes"], ["batch", 2], ["batch", "phonemes", 2, 1]])
def test_an_alignment_that_fits_no_frame_is_refused(numpy_net, axes):
    outputs = OUTPUTS | {"alignment": ("float32", axes)}
    message = fault(WiringError, net_of(numpy_net, two_frames, INPUTS, outputs))
    assert message.startswith("$.stack[0]: net 'step' gives alignment float32 [")
    assert message.endswith("], want [phonemes] or [phonemes, 2]")


def test_a_counter_of_another_kind_is_refused(numpy_net):
    inputs = INPUTS | {"position": ("int32", [])}
    message = fault(WiringError, net_of(numpy_net, two_frames, inputs))
    assert message.startswith("$.stack[0]: 'position' of the decoder does not fit (given → wanted): dtype")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"stop_threshold": 0.0}, "$.stack[0].stop_threshold: got 0, want more than 0"),
        ({"least_frames_per_symbol": -1.0}, "$.stack[0].least_frames_per_symbol: got -1, want 0 or more"),
        (
            {"least_frames_per_symbol": 40.0},
            "$.stack[0].most_frames_per_symbol: got 30, want more than least_frames_per_symbol, which is 40",
        ),
        ({"attention": {"most_back": -1}}, "$.stack[0].attention.most_back: got -1, want 0 or more, or null"),
    ],
)
def test_options_that_make_no_sense_are_refused(numpy_net, entry, message):
    assert fault(ConfigError, net_of(numpy_net, two_frames), **entry) == message
