"""Marks say when what the client sent is spoken, and where in his text it stands."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import make_attention_tone
import make_tone
import voxstack
from voxstack.core.errors import ConfigError, RequestError, TooLongError
from voxstack.core.streams import ArrayStream
from voxstack.engine.audio import Audio
from voxstack.engine.fitting import Limits
from voxstack.engine.marks import KINDS, WHERE_KNOWN, Mark, chosen_kinds
from voxstack.engine.plan import ChunkPlan
from voxstack.engine.voice import Voice
from voxstack.engine.watching import Watcher
from voxstack.stack.addon import load_addon

pytestmark = pytest.mark.end_to_end

ADDONS = Path(__file__).parents[2] / "examples" / "addons"
RATE, HOP = make_tone.SAMPLE_RATE, make_tone.HOP
ALL = ("sentence", "word", "phoneme")
HALF = make_tone.LOUDNESS / 2
"""What is left of a tone's loudness where it begins: decoder and vocoder blur it evenly to both sides."""


@pytest.fixture(scope="module")
def voice():
    return voxstack.load("tone", folders=[ADDONS])


@pytest.fixture(scope="module")
def attention():
    return voxstack.load("tone-attention", folders=[ADDONS])


def begin_of(letter: str, samples: np.ndarray) -> int:
    """Return the sample at which a letter's tone begins, measured in the audio."""
    hz = make_tone.TONES_HZ[make_tone.LETTERS.index(letter)]
    wave = np.exp(2j * np.pi * hz * np.arange(HOP) / RATE)
    loudness = np.abs(samples[: len(samples) // HOP * HOP].reshape(-1, HOP) @ wave) * 2 / HOP
    return int(np.flatnonzero(loudness > HALF)[0]) * HOP


def samples_of(marks, kind) -> list[int]:
    found = [mark.time_s * RATE for mark in marks if mark.kind == kind]
    assert all(abs(place - round(place)) < 1e-6 for place in found)
    return [round(place) for place in found]


def values(marks, kind) -> list[str]:
    return [mark.value for mark in marks if mark.kind == kind]


# Durations


@pytest.mark.parametrize("speed", [1.0, 0.5, 2.0, 1.3])
def test_a_phoneme_is_marked_at_the_sample_at_which_its_tone_begins(voice, speed):
    audio = voice.say("Bad chef. Gijkl!", marks=("phoneme", "sentence"), speed=speed)
    assert values(audio.marks, "phoneme") == list("badchefgijkl")
    first, second = samples_of(audio.marks, "sentence")
    heard = [begin_of(letter, audio.samples) for letter in "badchef"]
    heard += [second + begin_of(letter, audio.samples[second:]) for letter in "gijkl"]
    assert first == 0
    assert samples_of(audio.marks, "phoneme") == heard


def test_a_phoneme_lasts_until_the_next_one_of_its_word(voice):
    marks = voice.say("Bad chef.", marks="phoneme").marks
    for mark, after in pairwise(mark for mark in marks if mark.start == 0):
        assert mark.time_s + mark.duration_s == pytest.approx(after.time_s)
    assert marks[2].duration_s == pytest.approx(make_tone.FRAMES[4] * HOP / RATE)  # a "d"


def test_a_word_begins_with_its_first_phoneme_and_ends_with_its_last(voice):
    audio = voice.say("Bad chef. Gijkl!", marks=ALL)
    words = [mark for mark in audio.marks if mark.kind == "word"]
    assert [(word.start, word.end, word.value) for word in words] == [
        (0, 3, "Bad"),
        (4, 8, "chef"),
        (10, 15, "Gijkl"),
    ]
    assert samples_of(audio.marks, "word") == [begin_of(letter, audio.samples) for letter in "bcg"]
    for word in words:
        inside = [mark for mark in audio.marks if mark.kind == "phoneme" and mark.start == word.start]
        assert {(mark.start, mark.end) for mark in inside} == {(word.start, word.end)}
        assert word.time_s + word.duration_s == pytest.approx(inside[-1].time_s + inside[-1].duration_s)


def test_a_sentence_begins_behind_the_pause_that_the_session_makes(voice):
    parts = [voice.say("Bad chef.").samples, voice.say("Gijkl!").samples]
    audio = voice.say("Bad chef. Gijkl!", marks=ALL)
    pause = len(audio.samples) - sum(map(len, parts))
    assert pause > 0
    assert samples_of(audio.marks, "sentence") == [0, len(parts[0]) + pause]
    assert values(audio.marks, "sentence") == ["Bad chef.", "Gijkl!"]
    durations = [mark.duration_s for mark in audio.marks if mark.kind == "sentence"]
    assert durations == [len(part) / RATE for part in parts]


def test_marks_come_in_the_order_of_time_the_larger_first(voice):
    marks = voice.say("Bad chef. Gijkl!", marks=("phoneme", "word", "sentence")).marks
    assert [mark.kind for mark in marks[:3]] == ["sentence", "word", "phoneme"]
    assert [mark.time_s for mark in marks] == sorted(mark.time_s for mark in marks)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("  \tBad\t\tcab ", ["Bad", "cab"]),
        ("😀 Bad 👩‍👩‍👧 cab 😀", ["Bad", "cab"]),
        ("“Bád”—(cab), “déaf”…", ["Bád", "cab", "déaf"]),
        ("Ba\u0301d 23 cab's ill-bred", ["Ba\u0301d", "cab's", "ill-bred"]),
        ("Bad.\r\n\r\n\r\nCab!\u2028 Fed", ["Bad", "Cab", "Fed"]),
    ],
)
def test_offsets_count_in_the_text_as_it_was_sent(voice, text, words):
    marks = voice.say(text, marks=("word", "sentence")).marks
    assert values(marks, "word") == words
    assert all(text[mark.start : mark.end] == mark.value for mark in marks)
    pieces = [mark for chunk in voice.stream(iter(text), marks=("word", "sentence")) for mark in chunk.marks]
    assert tuple(pieces) == marks


# Chunks


@pytest.mark.parametrize("name", ["tone", "tone-attention", "tone-nested"])
@pytest.mark.parametrize("speed", [1.0, 0.7])
def test_marks_are_the_same_however_the_audio_is_cut(name, speed):
    loaded = voxstack.load(name, folders=[ADDONS]).loaded
    text = "Bad cab, deaf chef. Ill jackal!\n\nFed."
    whole = Voice(loaded, plan=ChunkPlan(first_ms=10_000, growth=1, most_ms=10_000)).say(
        text, marks=ALL, speed=speed
    )
    assert len(whole.marks) > 30
    for ms in (10, 37, 250):
        plan = ChunkPlan(first_ms=ms, growth=1, most_ms=ms)
        chunks = list(Voice(loaded, plan=plan).chunks(text, marks=ALL, speed=speed))
        assert Audio.joined(chunks, RATE).marks == whole.marks


def test_each_chunk_has_the_marks_that_begin_in_it(voice):
    begin_s = 0.0
    seen = 0
    for chunk in voice.stream("Bad cab, deaf chef. Ill jackal! " * 3, marks=ALL):
        for mark in chunk.marks:
            assert begin_s - 1e-9 <= mark.time_s < begin_s + chunk.duration_s
            seen += 1
        begin_s += chunk.duration_s
    assert seen


def test_what_nobody_asked_for_is_not_there(voice):
    assert voice.say("Bad cab.").marks == ()
    assert {mark.kind for mark in voice.say("Bad cab.", marks=["word"]).marks} == {"word"}
    with voice.stream("Bad cab.", marks=()) as speech:
        assert all(chunk.marks == () for chunk in speech)


def test_marks_change_no_sample(voice):
    text = "Bad cab, deaf chef. Ill jackal!"
    np.testing.assert_array_equal(voice.say(text, marks=ALL).samples, voice.say(text).samples)


def test_a_voice_that_is_observed_or_watched_has_the_same_marks(voice):
    text = "Bad cab, deaf chef. Ill jackal!"
    for options in ({"telemetry": "logs"}, {"watch": Watcher()}):
        assert voxstack.load("tone", folders=[ADDONS], **options).say(text, marks=ALL).marks == (
            voice.say(text, marks=ALL).marks
        )


# A sentence in parts


def test_a_sentence_in_parts_is_marked_once_and_as_it_was_sent(voice):
    text = "Bad cab deaf chef ill jackal. Fed."
    short = Voice(voice.loaded, limits=Limits(most_ids=10))
    audio = short.say(text, marks=ALL)
    spans = {chunk.span for chunk in short.chunks(text)}
    assert len(spans) > 3
    sentences = [mark for mark in audio.marks if mark.kind == "sentence"]
    assert [(mark.value, mark.duration_s is None) for mark in sentences] == [
        ("Bad cab deaf chef ill jackal.", True),
        ("Fed.", False),
    ]
    assert values(audio.marks, "word") == ["Bad", "cab", "deaf", "chef", "ill", "jackal", "Fed"]
    assert all(text[mark.start : mark.end] == mark.value for mark in audio.marks if mark.kind != "phoneme")


def test_what_turns_out_to_be_too_long_is_marked_as_it_is_said_then(voice):
    """The marks of what was opened first, and not heard, are not told."""
    loaded = voice.loaded

    class Refusing:
        timing = loaded.block.timing

        def open(self, tensors, source):
            stream = loaded.block.open(tensors, source)
            if len(tensors["ids"]) > 10:
                read = stream.read
                stream.read = lambda steps: _refuse(read, steps)
            return stream

    def _refuse(read, steps):
        read(steps)
        raise TooLongError(axis="frames", steps=200, most=100)

    refusing = voxstack.load("tone", folders=[ADDONS])
    refusing._block = Refusing()
    text = "Bad cab deaf chef. Fed."
    marks = refusing.say(text, marks=("word", "sentence")).marks
    assert values(marks, "sentence") == ["Bad cab deaf chef.", "Fed."]
    assert values(marks, "word") == ["Bad", "cab", "deaf", "chef", "Fed"]


# Attention


@pytest.mark.parametrize("speed", [1.0, 0.5])
def test_attention_marks_a_symbol_when_it_first_reaches_it(attention, speed):
    lasts = round(make_attention_tone.FRAMES * HOP / speed)
    audio = attention.say("abc def", marks=ALL, speed=speed)
    assert samples_of(audio.marks, "phoneme") == [place * lasts for place in (0, 1, 2, 4, 5, 6)]
    assert samples_of(audio.marks, "word") == [0, 4 * lasts]
    assert samples_of(audio.marks, "sentence") == [0]
    assert all(mark.duration_s is None for mark in audio.marks)
    for mark in audio.marks:
        if mark.kind == "phoneme":
            begin = begin_of(mark.value, audio.samples)
            assert 0 <= begin - round(mark.time_s * RATE) <= HOP  # a frame is half of the one before


def test_what_attention_reads_again_is_not_marked_again(attention):
    audio = attention.say("abc def gh", marks="word", loop=5)
    assert values(audio.marks, "word") == ["abc", "def"]


def test_what_attention_never_reads_is_not_marked(attention):
    audio = attention.say("abc def gh", marks=("word", "sentence"), stuck=2)
    assert values(audio.marks, "word") == ["abc"]
    assert values(audio.marks, "sentence") == ["abc def gh"]


# Effects


def with_effects(*entries):
    return voxstack.load("tone", folders=[ADDONS], effects=list(entries))


def test_another_rate_of_samples_moves_no_mark():
    audio = with_effects({"type": "Resample", "sample_rate": 44_100}).say("Bad cab. Fed.", marks=ALL)
    plain = voxstack.load("tone", folders=[ADDONS]).say("Bad cab. Fed.", marks=ALL)
    assert audio.sample_rate == 44_100
    wanted = [mark.time_s for mark in plain.marks]
    assert [mark.time_s for mark in audio.marks] == pytest.approx(wanted, abs=1 / 44_100)


def test_a_fade_and_a_gain_move_no_mark(voice):
    changed = with_effects(
        {"type": "Fade", "out_ms": 40}, {"type": "Limiter"}, {"type": "Gain", "gain_db": -3}
    )
    assert changed.say("Bad cab. Fed.", marks=ALL).marks == voice.say("Bad cab. Fed.", marks=ALL).marks


@pytest.mark.parametrize("rate", [0.8, 1.25])
def test_another_tempo_moves_marks_as_it_moves_the_sound(voice, rate):
    changed = with_effects({"type": "Tempo", "rate": rate}).say("Bad chef", marks="phoneme")
    plain = voice.say("Bad chef", marks="phoneme")
    for mark, before in zip(changed.marks, plain.marks, strict=True):
        assert mark.time_s == pytest.approx(before.time_s / rate, abs=1 / RATE)
        begin = begin_of(mark.value, changed.samples)
        assert begin / RATE == pytest.approx(mark.time_s, abs=0.025)


def test_what_trimming_leaves_out_at_the_start_moves_marks_to_the_sample(voice):
    trim = {"type": "TrimSilence", "threshold_db": -8, "keep_ms": 0}
    plain = voice.say("Bad chef. Gijkl", marks=("phoneme", "sentence"))
    plan = ChunkPlan(first_ms=10, growth=1, most_ms=10)
    trimmed = Voice(with_effects(trim).loaded, plan=plan)
    changed = trimmed.say("Bad chef. Gijkl", marks=("phoneme", "sentence"))
    loud = np.flatnonzero(np.abs(plain.samples) >= 10 ** (-8 / 20))
    assert loud[0] > HOP // 2
    wanted = [max(place - loud[0], 0) for place in samples_of(plain.marks, "phoneme")[:7]]
    assert samples_of(changed.marks, "phoneme")[:7] == wanted
    second = samples_of(changed.marks, "sentence")[1]
    assert np.abs(changed.samples[second]) >= 10 ** (-8 / 20)
    assert not changed.samples[second - HOP : second].any()


def test_a_mark_behind_what_trimming_leaves_at_the_end_is_told_with_the_end(voice):
    trim = {"type": "TrimSilence", "threshold_db": -4, "keep_ms": 0}  # nothing is so loud
    audio = with_effects(trim).say("Bad chef", marks="phoneme")
    assert values(audio.marks, "phoneme") == list("Badchef".lower())
    assert all(mark.time_s <= audio.duration_s for mark in audio.marks)


# What is refused


def test_there_are_three_kinds():
    assert KINDS == ALL
    with pytest.raises(RequestError) as caught:
        chosen_kinds(["word", "words"])
    assert str(caught.value) == "marks: no marks of 'words'; did you mean 'word'?"


def test_another_kind_is_refused_at_once(voice):
    with pytest.raises(RequestError, match="no marks of 'viseme'"):
        voice.stream("abc", marks=["viseme"])


def test_a_control_may_not_be_called_marks(tone, tmp_path):
    folder = make_tone.make_tone(tmp_path / "tone")
    addon = load_addon(folder)
    addon.config.controls["marks"] = addon.config.controls["speed"]
    with pytest.raises(ConfigError, match="'marks' is not free for a control"):
        _ = addon.request


class Untold:
    """A stack whose blocks tell nothing of symbols."""

    def __init__(self, timing):
        self.timing = timing

    def open(self, tensors, source):
        return ArrayStream.over({"samples": np.zeros(8000, np.float32)})


def test_a_voice_whose_blocks_tell_nothing_marks_sentences_only():
    voice = voxstack.load("tone", folders=[ADDONS])
    voice._block = Untold(voice.loaded.block.timing)
    assert voice.say("Bad cab. Fed.", marks="sentence").marks == (
        Mark("sentence", 0.0, None, 0, 8, "Bad cab."),
        Mark("sentence", 0.62, None, 9, 13, "Fed."),
    )
    with pytest.raises(RequestError) as caught:
        voice.say("Bad cab.", marks=("sentence", "word"))
    assert str(caught.value) == (
        "marks: no block of this voice tells which symbol it speaks when, so it can mark sentences only"
    )
    where_known = voice.say("Bad cab.", marks=("sentence", "word", WHERE_KNOWN)).marks
    assert [mark.value for mark in where_known] == ["Bad cab."]


def test_where_known_changes_nothing_for_a_voice_that_can_tell():
    voice = voxstack.load("tone", folders=[ADDONS])
    wanted = voice.say("Bad cab.", marks="word").marks
    assert len(wanted) == 2
    assert voice.say("Bad cab.", marks=("word", WHERE_KNOWN)).marks == wanted
