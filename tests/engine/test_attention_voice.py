"""A voice that speaks by attention streams like any other, and says so when it loses its way."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import make_attention_tone
import voxstack
from voxstack.core.events import ALIGNMENT, Event, listening, report

pytestmark = pytest.mark.end_to_end

ADDONS = Path(__file__).parents[2] / "examples" / "addons"
RATE = 16_000
FRAME = 160
LASTS = make_attention_tone.FRAMES * FRAME
"""Samples of one letter."""

STALLED_FRAMES = 100
"""Frames without a new symbol after which an utterance is ended: a second."""


@pytest.fixture(scope="module")
def voice():
    return voxstack.load("tone-attention", folders=[ADDONS])


def loudest_hz(samples):
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return np.fft.rfftfreq(len(samples), 1 / RATE)[spectrum.argmax()]


def joined(chunks):
    return np.concatenate([chunk.samples for chunk in chunks])


def kinds(audio) -> list[str]:
    return [event.kind for event in audio.events]


# It speaks


def test_each_letter_is_heard_as_its_own_tone_in_order(voice):
    samples = voice.say("abcdefghijkl").samples
    assert len(samples) == 12 * LASTS
    heard = [loudest_hz(samples[place * LASTS :][:LASTS][FRAME:]) for place in range(12)]
    assert heard == pytest.approx([300 + 100 * place for place in range(12)], abs=40)


def test_a_voice_that_reads_along_has_nothing_to_say_about_itself(voice):
    assert voice.say("abcdefghijkl " * 6).events == ()


def test_chunks_joined_are_the_whole(voice):
    text = "Abcdef ghijkl abc. Fed cba."
    whole = voice.say(text).samples
    np.testing.assert_array_equal(joined(voice.chunks(text)), whole)
    np.testing.assert_array_equal(joined(voice.stream(text)), whole)


def test_a_request_said_again_sounds_the_same(voice):
    np.testing.assert_array_equal(voice.say("abc def").samples, voice.say("abc def").samples)


def test_an_utterance_begins_anew_whatever_was_said_before_it(voice):
    """Neither the place of the attention nor the last frame is carried over."""
    long = "Abcdefghijkl" * 6 + "."
    parts = [voice.say(long).samples, voice.say("Fed.").samples]
    both = voice.say(f"{long} Fed.").samples
    np.testing.assert_array_equal(both[: len(parts[0])], parts[0])
    np.testing.assert_allclose(both[-len(parts[1]) :], parts[1], atol=1e-6)


def test_half_the_speed_lasts_twice_as_long(voice):
    normal, slow = voice.say("abcdef"), voice.say("abcdef", speed=0.5)
    assert slow.duration_s == pytest.approx(2 * normal.duration_s, rel=0.05)


def test_requests_read_in_turn_do_not_disturb_each_other(voice):
    texts = ["abcdefghijkl" * 4, "lkjihgfedcba" * 4]
    alone = [joined(voice.chunks(text)) for text in texts]
    together = [[], []]
    for turn in zip(*(voice.chunks(text) for text in texts), strict=True):
        for parts, chunk in zip(together, turn, strict=True):
            parts.append(chunk)
    np.testing.assert_array_equal([joined(parts) for parts in together], alone)


# It loses its way


def test_a_stuck_voice_ends_within_its_bound_and_says_why(voice):
    audio = voice.say("abcdef", stuck=2)
    reached = 2 * make_attention_tone.FRAMES + 1
    assert reached + STALLED_FRAMES <= len(audio.samples) / FRAME <= reached + STALLED_FRAMES + 4
    [event] = audio.events
    assert (event.kind, event.where, dict(event.values)) == (
        "attention.stall",
        "step",
        {"symbol": 2, "ended": True},
    )
    assert event.text == (
        "the attention read nothing new for 1.0 s, after 3 of 6 symbols; the utterance was ended"
    )


def test_a_voice_that_goes_in_circles_ends_and_tells_each_time(voice):
    audio = voice.say("abcdefghijkl", loop=5)
    assert "attention.back" in kinds(audio)
    last = audio.events[-1]
    assert last.values["ended"]
    assert last.kind in ("attention.repeat", "attention.stall")
    assert len(audio.samples) / FRAME < 12 * 30
    assert [event.values["ended"] for event in audio.events[:-1]] == [False] * (len(audio.events) - 1)


def test_what_comes_after_a_sentence_that_was_ended_is_still_said(voice):
    text = "Abcdefghijkl" * 5 + ". " + "Lkjihg" * 5 + "."
    audio = voice.say(text, stuck=40)
    assert kinds(audio) == ["attention.stall"]
    assert loudest_hz(audio.samples[-LASTS:]) == pytest.approx(900, abs=40)  # its last letter, g


def test_each_sentence_tells_of_itself(voice):
    text = "Abcdefghijkl" * 5 + ". " + "Lkjihg" * 5 + "."
    events = {}
    for chunk in voice.chunks(text, stuck=3):
        for event in chunk.events:
            events.setdefault(chunk.span, []).append(event.kind)
    assert events == {(0, 60): ["attention.stall"], (62, 92): ["attention.stall"]}


def test_an_event_comes_with_the_chunk_in_which_it_happened(voice):
    chunks = list(voice.chunks("abcdef", stuck=2))
    assert [kinds(chunk) for chunk in chunks] == [[]] * (len(chunks) - 1) + [["attention.stall"]]


def test_events_are_the_same_however_the_voice_is_asked(voice):
    asked = {"text": "abcdefghijkl", "loop": 9}
    said = voice.say(**asked).events
    assert len(said) > 1
    assert tuple(event for chunk in voice.chunks(**asked) for event in chunk.events) == said
    assert tuple(event for chunk in voice.stream(**asked) for event in chunk.events) == said


# Who hears it


def test_who_listens_where_the_voice_is_read_hears_it_too_and_sees_the_alignment(voice):
    heard: list[Event] = []
    with listening(heard.append):
        audio = voice.say("abcdef", stuck=2)
    assert tuple(event for event in heard if event.kind != ALIGNMENT) == audio.events
    alignments = [event for event in heard if event.kind == ALIGNMENT]
    positions = np.concatenate([event.values["positions"] for event in alignments])
    assert [event.step for event in alignments] == list(range(0, len(positions), 2))
    assert positions[:20].tolist() == [0] * 8 + [1] * 8 + [2] * 4
    assert {event.values["weights"].shape for event in alignments} == {(2, 6)}


def test_alignments_are_no_part_of_the_audio(voice):
    assert ALIGNMENT not in kinds(voice.say("abcdef", stuck=2))


def test_a_voice_listens_only_while_it_works(voice):
    """Between two chunks its caller may do what it likes: nothing of that is the voice's."""
    chunks = voice.chunks("abcdefghijkl" * 3)
    heard = list(next(chunks).events)
    report(Event("of somebody else", "elsewhere", 0))
    heard += [event for chunk in chunks for event in chunk.events]
    assert heard == []


def test_voices_read_in_turn_hear_themselves_alone(voice):
    stuck, sound = voice.chunks("abcdef", stuck=2), voice.chunks("abcdef" * 6)
    events = [(kinds(one), kinds(other)) for one, other in zip(stuck, sound, strict=False)]
    assert [one for one, _ in events][-1] == ["attention.stall"]
    assert [other for _, other in events] == [[]] * len(events)


# Who looks on


@dataclass
class Onlooker:
    """A watch that hands on what it gets behind a wrapper, and counts what went through it."""

    nets: dict[str, int] = field(default_factory=dict)
    blocks: dict[str, int] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)

    def net(self, name, net):
        self.nets[name] = 0
        return SeenNet(net, self.nets, name)

    def block(self, path, name, block):
        self.blocks[path] = 0
        self.types[path] = name
        return SeenBlock(block, self.blocks, path)


@dataclass
class Seen:
    """Something that does what it wraps does."""

    real: Any
    counts: dict[str, int]
    name: str

    def __getattr__(self, name):
        return getattr(self.real, name)

    def count(self, call, *given):
        self.counts[self.name] += 1
        return call(*given)


class SeenNet(Seen):
    def run(self, tensors: Mapping[str, np.ndarray]):
        return self.count(self.real.run, tensors)

    def begin(self, tensors: Mapping[str, np.ndarray]):
        return SeenWalk(self.real.begin(tensors), self.counts, self.name)


class SeenWalk(Seen):
    def step(self, tensors: Mapping[str, np.ndarray]):
        return self.count(self.real.step, tensors)


class SeenBlock(Seen):
    def run(self, tensors: Mapping[str, np.ndarray]):
        return self.count(self.real.run, tensors)

    def open(self, tensors: Mapping[str, np.ndarray], source):
        return self.count(self.real.open, tensors, source)


@pytest.fixture
def onlooker() -> Onlooker:
    return Onlooker()


@pytest.fixture
def watched(onlooker):
    return voxstack.load("tone-attention", folders=[ADDONS], watch=onlooker)


def test_every_net_and_every_block_may_be_watched(watched, onlooker):
    assert set(onlooker.nets) == {"text", "step", "postnet", "tone-vocoder/vocoder"}
    assert onlooker.types == {
        "$.stack[0]": "StreamablePipeline",
        "$.stack[0].sequence_block": "Encoders",
        "$.stack[0].streamable_block": "StreamableStack",
        "$.stack[0].streamable_block.stack[0]": "AutoregressiveDecoder",
        "$.stack[0].streamable_block.stack[1]": "Decoder",
        "tone-vocoder: $.stack[0]": "Vocoder",
    }


def test_all_work_goes_through_the_watch(watched, onlooker):
    watched.say("abcdef")
    assert onlooker.blocks == dict.fromkeys(onlooker.types, 1)
    assert onlooker.nets["text"] == 1
    assert onlooker.nets["step"] == 6 * make_attention_tone.FRAMES / make_attention_tone.PER_STEP
    assert all(onlooker.nets.values())


def test_a_watched_voice_sounds_as_it_does_alone(watched, voice):
    for controls in ({}, {"stuck": 3.0}):
        text = "Abcdef ghijkl. Fed."
        np.testing.assert_array_equal(
            watched.say(text, **controls).samples, voice.say(text, **controls).samples
        )
        assert watched.say(text, **controls).events == voice.say(text, **controls).events


def test_a_watched_voice_shares_its_nets_with_others_that_go_on_unseen(watched, onlooker, voice):
    assert watched.loaded.nets["step"].real is voice.loaded.nets["step"]
    before = dict(onlooker.nets)
    voice.say("abc")
    assert onlooker.nets == before


def test_only_the_frames_that_the_first_chunk_needs_are_made_before_it(watched, onlooker):
    chunks = watched.chunks("abcdefghijkl" * 10)
    first = next(chunks)
    frames = len(first.samples) / FRAME
    # The postnet looks two frames ahead, the vocoder one, and a step makes two.
    assert onlooker.nets["step"] * make_attention_tone.PER_STEP <= frames + 2 + 1 + 2
    chunks.close()


def test_a_stream_that_is_closed_makes_no_more_frames(watched, onlooker):
    chunks = watched.chunks("abcdefghijkl" * 100)
    next(chunks)
    made = onlooker.nets["step"]
    chunks.close()
    assert list(chunks) == []
    assert onlooker.nets["step"] == made
