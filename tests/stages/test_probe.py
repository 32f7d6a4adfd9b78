"""Probe: what flows is measured, and what is not finite or clips is told at once."""

from fractions import Fraction

import numpy as np
import pytest

from voxstack.core.errors import ConfigError
from voxstack.core.events import listening
from voxstack.core.ports import MelFormat, Port
from voxstack.core.streams import ArrayStream
from voxstack.stack.wire import wire_stack
from voxstack.testing import check_streamable

pytestmark = pytest.mark.law

LAW_TEST_OF = ("Probe.v1",)

RATE = Fraction(16000)
SOURCE = {"samples": Port("samples", "float32", ("samples",), RATE)}
MELS = {"mel": Port("mel", "float32", ("frames", 4), Fraction(100))}
FORMAT = MelFormat(16000, 160, 4, 0, 8000)


def wire(source=SOURCE, **options):
    entry = {"type": "Probe", **options}
    return wire_stack([entry], nets={}, tensors={}, source=source, mel=FORMAT).blocks[0]


def read(block, chunks, cut=7):
    """Read an utterance to its end; return the events, and after how many steps each was told."""
    stream, heard, made = block.open({}, ArrayStream.over(chunks)), [], 0
    with listening(lambda event: heard.append((made, event))):
        while True:
            got = len(next(iter(stream.read(cut).values())))
            made += got
            if got < cut:
                break
        stream.read(cut)
    stream.close()
    return heard


def sound(steps=1000, seed=0):
    return np.random.default_rng(seed).uniform(-0.9, 0.9, steps).astype(np.float32)


def test_it_keeps_the_law():
    check_streamable(wire(), tensors={}, source={"samples": sound()}, expected={"samples": sound()})


@pytest.mark.parametrize("cut", [1, 7, 999, 1000, 5000])
def test_it_agrees_with_numpy_over_the_whole_however_it_is_cut(cut):
    samples = sound()
    samples[100:300] *= 1e-4
    ((_, event),) = read(wire(), {"samples": samples}, cut)
    measures = event.values["ports"]["samples"]
    assert measures == {
        "steps": 1000,
        "shape": [],
        "low": float(samples.min()),
        "high": float(samples.max()),
        "mean": pytest.approx(float(samples.mean(dtype=np.float64)), rel=1e-9),
        "nan": 0,
        "inf": 0,
        "clipped": 0,
        "silence_share": float((np.abs(samples) < 1e-3).mean()),
    }


def test_it_tells_people_in_one_line_and_counts_in_frames():
    samples = np.array([0.5, -0.25, 0, 0], np.float32).repeat(800)
    ((_, event),) = read(wire(name="out"), {"samples": samples})
    assert (event.kind, event.where, event.step) == ("probe", "out", 20)
    assert event.text == "out: samples 3200, -0.25 to 0.5, mean 0.0625, 50% silence"


def test_without_a_name_it_is_known_by_its_place():
    ((_, event),) = read(wire(), {"samples": sound(10)})
    assert event.where == "$.stack[0]"
    assert event.text.startswith("samples 10, ")


def test_mels_neither_clip_nor_are_silent():
    ((_, event),) = read(wire(MELS), {"mel": np.arange(20, dtype=np.float32).reshape(5, 4)})
    assert event.text == "mel 5 × 4, 0 to 19, mean 9.5"
    assert set(event.values["ports"]["mel"]) == {"steps", "shape", "low", "high", "mean", "nan", "inf"}


def test_what_is_not_finite_is_told_when_it_flows_and_counted_at_the_end():
    mel = np.ones((30, 4), np.float32)
    mel[11, 2], mel[12, 0], mel[20] = np.nan, np.inf, -np.inf
    (told, first), (_, last) = read(wire(MELS), {"mel": mel})
    assert (told, first.kind, first.step) == (7, "probe.not_finite", 11)
    assert first.text == "mel is nan from step 11 on"
    assert first.values == {"port": "mel", "step": 11}
    assert last.text == "mel 30 × 4, 1 to 1, mean 1, 1 NaN, 5 Inf"


def test_the_first_sample_at_full_scale_is_told_when_it_flows():
    samples = sound()
    samples[[500, 700]] = -1.0, 3.0
    (told, first), (_, last) = read(wire(), {"samples": samples})
    assert (told, first.kind, first.step) == (497, "probe.clipping", 3)
    assert first.text == "samples reaches full scale at step 500, with -1"
    assert last.values["ports"]["samples"]["clipped"] == 2
    assert "2 at full scale" in last.text


def test_nothing_that_was_finite_has_no_range():
    ((_, first), (_, last)) = read(wire(), {"samples": np.full(9, np.nan, np.float32)})
    assert first.text == "samples is nan from step 0 on"
    measures = last.values["ports"]["samples"]
    assert (measures["low"], measures["high"], measures["mean"], measures["nan"]) == (None, None, None, 9)


def test_an_empty_utterance_is_told_too():
    ((_, event),) = read(wire(), {"samples": sound(0)})
    assert event.text == "samples 0"


def test_an_utterance_closed_early_is_not_told():
    heard = []
    with listening(heard.append):
        stream = wire().open({}, ArrayStream.over({"samples": sound()}))
        stream.read(500)
        stream.close()
    assert heard == []


def test_utterances_read_in_turn_are_measured_apart():
    block, heard = wire(), []
    one, two = (block.open({}, ArrayStream.over({"samples": np.full(50, v, np.float32)})) for v in (0.1, 0.2))
    with listening(heard.append):
        for _ in range(9):
            one.read(6)
            two.read(6)
    highs = [event.values["ports"]["samples"]["high"] for event in heard]
    assert highs == pytest.approx([0.1, 0.2])


@pytest.mark.parametrize("level", [0, 3, -300])
def test_a_silence_that_is_no_level_is_refused(level):
    with pytest.raises(ConfigError) as caught:
        wire(silence_db=level)
    assert str(caught.value) == (
        f"$.stack[0].silence_db: got {float(level)} dB, want less than 0, at least -200"
    )
