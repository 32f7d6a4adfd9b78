"""Upsampler: phoneme steps repeated by their durations."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxstack.core import events as events_module
from voxstack.core.blocks import Timing
from voxstack.core.errors import ConfigError, NetError, WiringError
from voxstack.core.events import ALIGNMENT, listening
from voxstack.core.ports import Port
from voxstack.core.streams import EVERYTHING
from voxstack.stack.wire import wire_stack
from voxstack.stages.upsampler.repeat import Upsampler
from voxstack.testing import check_streamable, strategies

pytestmark = pytest.mark.law

LAW_TEST_OF = ("Upsampler.v1",)

IDS = Port("ids", "int64", ("phonemes",))
HIDDEN = Port("hidden", "float32", ("phonemes", 4))
PITCH = Port("pitch", "float32", ("phonemes",))
DURATIONS = Port("durations", "int64", ("phonemes",))
SPEED = Port("speed", "float32", ())
HERE = {port.name: port for port in (IDS, HIDDEN, PITCH, DURATIONS, SPEED)}


def wire(here=HERE, **options):
    return wire_stack(
        [{"type": "Upsampler", **options}], nets={}, tensors=here, frame_rate=Fraction(100)
    ).blocks[0]


def fault(error, here=HERE, **options) -> str:
    with pytest.raises(error) as caught:
        wire(here, **options)
    return str(caught.value)


def filled(durations, *, speed=1.0, seed=0):
    generator = np.random.default_rng(seed)
    return {
        "durations": np.asarray(durations),
        "hidden": generator.standard_normal((len(durations), 4)).astype(np.float32),
        "pitch": generator.standard_normal(len(durations)).astype(np.float32),
        "speed": np.array(speed, np.float32),
    }


def frames(block, tensors) -> list[int]:
    return block.frames(tensors).tolist()


def test_it_repeats_every_float_tensor_beside_the_durations():
    block = wire()
    assert block.takes == {name: HERE[name] for name in ("durations", "hidden", "pitch", "speed")}
    assert block.gives == {
        "hidden": Port("hidden", "float32", ("frames", 4), Fraction(100)),
        "pitch": Port("pitch", "float32", ("frames",), Fraction(100)),
    }
    assert block.consumes is None
    assert block.timing == Timing()


def test_it_repeats_what_it_is_told_to():
    assert set(wire(tensors=["pitch"]).gives) == {"pitch"}


@given(strategies.durations(), strategies.cuts(), st.sampled_from([0.5, 1.0, 1.7]))
def test_it_keeps_the_law_and_agrees_with_a_loop_over_phonemes(durations, cut, speed):
    tensors = filled(durations, speed=speed)
    expected = {"hidden": [], "pitch": []}
    for place, lasts in enumerate(durations):
        for _ in range(int(np.rint(np.float32(lasts) * (np.float32(1) / np.float32(speed))))):
            for name, rows in expected.items():
                rows.append(tensors[name][place])
    reference = {
        "hidden": np.array(expected["hidden"], np.float32).reshape(-1, 4),
        "pitch": np.array(expected["pitch"], np.float32),
    }
    check_streamable(wire(), tensors=tensors, cuts=[cut], expected=reference)


def test_whole_durations_at_speed_1_stay_what_they_are():
    assert frames(wire(), filled([3, 0, 2])) == [3, 0, 2]
    without_speed = {name: port for name, port in HERE.items() if name != "speed"}
    assert "speed" not in wire(without_speed).takes


def test_float_durations_are_rounded_as_the_addon_says():
    durations = np.array([0.2, 1.5, 2.5, 2.6], np.float32)
    assert frames(wire(), filled(durations)) == [0, 2, 2, 3]
    assert frames(wire(rounding="ceil"), filled(durations)) == [1, 2, 3, 3]


def test_speed_and_length_scale_stretch_before_rounding():
    durations = np.array([2, 3], np.float32)
    assert frames(wire(), filled(durations, speed=2)) == [1, 2]
    assert frames(wire(length_scale=1.5), filled(durations)) == [3, 4]
    assert frames(wire(length_scale=3.0), filled([2, 3])) == [6, 9]


def test_durations_below_zero_last_no_time():
    assert frames(wire(), filled([2, -3, 1])) == [2, 0, 1]


def test_no_phonemes_are_no_frames():
    stream = wire().open(filled(np.zeros(0, np.int64)), None)
    assert stream.read(EVERYTHING)["hidden"].shape == (0, 4)


def test_durations_that_are_no_numbers_are_refused():
    with pytest.raises(NetError) as caught:
        wire().open(filled(np.array([1, np.nan], np.float32)), None)
    assert str(caught.value) == "'durations' is nan at phoneme 1, want a number of frames"


def test_durations_for_other_phonemes_are_refused():
    with pytest.raises(NetError) as caught:
        wire().open({**filled([1, 2, 3]), "durations": np.array([1, 2])}, None)
    assert str(caught.value) == "'hidden' has 3 steps, but there are 2 durations"


def test_a_name_that_is_not_there_is_refused_with_the_nearest():
    assert fault(WiringError, durations="duration") == (
        "$.stack[0].durations: no tensor 'duration' is there; did you mean 'durations'?"
    )
    assert fault(WiringError, tensors=["hiden"]) == (
        "$.stack[0].tensors: no tensor 'hiden' is there; did you mean 'hidden'?"
    )


def test_nothing_to_repeat_is_refused():
    assert fault(WiringError, {"durations": DURATIONS}) == (
        "$.stack[0]: nothing with axis 'phonemes' is there to be repeated"
    )


def test_a_length_scale_of_zero_is_refused():
    assert fault(ConfigError, length_scale=0) == "$.stack[0].length_scale: got 0.0, want a number above 0"


def test_durations_of_hours_are_refused_before_memory_is_taken():
    block = wire()
    tensors = {
        "durations": np.array([1, 2**40], np.int64),
        "hidden": np.zeros((2, 4), np.float32),
        "pitch": np.zeros(2, np.float32),
        "speed": np.array(1, np.float32),
    }
    with pytest.raises(NetError, match="frames in one utterance; 30,000 are the most"):
        block.open(tensors, None)


def test_it_tells_which_phoneme_every_frame_speaks():
    hidden = Port("hidden", "float32", ("frames",))
    block = Upsampler(Upsampler.Options(), takes={}, gives={"hidden": hidden})
    events = []
    stream = block.open({"durations": np.array([2, 0, 3]), "hidden": np.ones(3, np.float32)}, None)
    with listening(events.append):
        stream.read(3)
        stream.read(9)
    assert [(event.kind, event.step, event.values["positions"].tolist()) for event in events] == [
        (ALIGNMENT, 0, [0, 0, 2]),
        (ALIGNMENT, 3, [2, 2]),
    ]


def test_it_tells_how_long_each_phoneme_lasts_before_it_is_read():
    hidden = Port("hidden", "float32", ("frames",))
    block = Upsampler(Upsampler.Options(length_scale=2), takes={}, gives={"hidden": hidden})
    events = []
    with listening(events.append):
        block.open({"durations": np.array([2, 0, 3]), "hidden": np.ones(3, np.float32)}, None)
    [event] = events
    assert (event.kind, event.step, event.is_data) == (events_module.DURATIONS, 0, True)
    assert event.values["frames"].tolist() == [4, 0, 6]
