"""Marks are written as Amazon Polly's lines, and as ElevenLabs' alignment of characters."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxstack.engine.mark_lines import PollyLines, character_times
from voxstack.engine.marks import Mark

pytestmark = pytest.mark.unit


def word(start, end, time_s, duration_s=None):
    return Mark("word", time_s, duration_s, start, end, "w" * (end - start))


# Polly


def test_a_line_has_pollys_keys_in_pollys_order():
    line = PollyLines("Mary had").line(Mark("word", 0.3725, 0.1, 5, 8, "had"))
    assert line == '{"time":372,"type":"word","start":5,"end":8,"value":"had"}'
    assert "\n" not in PollyLines("a\nb").line(Mark("sentence", 0, None, 0, 3, "a\nb"))


@given(st.lists(st.text(max_size=3000), max_size=4), st.data())
def test_offsets_count_bytes_however_the_text_comes(pieces, data):
    text = "".join(pieces)
    lines = PollyLines()
    for piece in pieces:
        lines.feed(piece)
    for _ in range(5):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, len(text)))
        told = json.loads(lines.line(Mark("word", 0.0, None, start, end, text[start:end])))
        assert text.encode()[told["start"] : told["end"]].decode() == told["value"] == text[start:end]


def test_half_a_character_has_a_place_too():
    assert json.loads(PollyLines("\ud83dab").line(word(1, 3, 0)))["start"] == 3


# Characters


def test_a_words_time_is_spread_evenly_over_its_characters():
    times = character_times("abcd", [word(0, 4, 1.0, 2.0)], start=0, end=4, begin_s=1.0, end_s=4.0)
    assert times.starts_s == (0.0, 0.5, 1.0, 1.5)
    assert times.durations_s == (0.5,) * 4


def test_what_is_between_words_stands_at_the_end_of_the_one_before():
    marks = [word(1, 3, 0.5, 0.5), word(5, 6, 2.0, 0.25)]
    times = character_times('"ab, c!', marks, start=0, end=7, begin_s=0.0, end_s=3.0)
    assert times.starts_s == (0.0, 0.5, 0.75, 1.0, 1.0, 2.0, 2.25)
    assert times.durations_s == (0.0, 0.25, 0.25, 0.0, 0.0, 0.25, 0.0)


def test_a_word_of_unknown_length_lasts_until_the_next_or_the_end():
    times = character_times("a b", [word(0, 1, 0.0), word(2, 3, 1.0)], start=0, end=3, begin_s=0.0, end_s=1.5)
    assert times.durations_s == (1.0, 0.0, 0.5)


def test_other_kinds_and_words_outside_do_not_count():
    marks = [Mark("sentence", 0.0, 9.0, 0, 5, "a b c"), word(0, 1, 0.0, 1.0), word(2, 3, 1.0, 1.0)]
    times = character_times("a b c", marks, start=1, end=4, begin_s=1.0, end_s=2.0)
    assert (times.text, times.starts_s) == (" b ", (0.0, 0.0, 1.0))


def test_a_stretch_without_words_has_no_length():
    times = character_times("...", [], start=0, end=3, begin_s=2.0, end_s=3.0)
    assert (times.starts_s, times.durations_s) == ((0.0,) * 3, (0.0,) * 3)


def test_both_shapes_of_elevenlabs():
    times = character_times("hé!", [word(0, 2, 0.25, 0.375)], start=0, end=3, begin_s=0.25, end_s=1.0)
    assert times.as_websocket() == {
        "chars": ["h", "é", "!"],
        "charStartTimesMs": [0, 188, 375],
        "charDurationsMs": [188, 187, 0],
    }
    assert times.as_http() == {
        "characters": ["h", "é", "!"],
        "character_start_times_seconds": [0.0, 0.188, 0.375],
        "character_end_times_seconds": [0.188, 0.375, 0.375],
    }


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5), st.floats(0, 2), st.floats(0, 1)), max_size=8),
    st.integers(0, 3),
)
def test_every_character_has_a_time_and_none_begins_before_the_one_before(words, rest):
    place, at_s, marks = 0, 0.0, []
    for gap, size, lasts_s, pause_s in words:
        marks.append(word(place + gap, place + gap + size, at_s, lasts_s))
        place, at_s = place + gap + size, at_s + lasts_s + pause_s
    text = "x" * (place + rest)
    times = character_times(text, marks, start=0, end=len(text), begin_s=0.0, end_s=at_s)
    assert len(times.text) == len(times.starts_s) == len(times.durations_s) == len(text)
    assert all(
        before <= after + 1e-9 for before, after in zip(times.starts_s, times.starts_s[1:], strict=False)
    )
