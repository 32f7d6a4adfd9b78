"""A sentence that no net could take whole becomes parts that fit, each at its place in the text."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import voxstack
from voxstack.core.errors import RequestError
from voxstack.core.events import listening
from voxstack.core.sizes import ShapePolicy, Sizes
from voxstack.core.text import Sentence
from voxstack.engine.fitting import Fitting, Limits, limits_of
from voxstack.stack.front import build_front_end

pytestmark = pytest.mark.unit

ADDONS = Path(__file__).parents[2] / "examples" / "addons"
TEXT = "Abcd efgh, ijkl aabb ccdd eeff gghh and iijj kkll abab cdcd."
PIECES = ["Abcd efgh,", "ijkl aabb", "ccdd eeff", "gghh and", "iijj kkll", "abab cdcd."]


@pytest.fixture(scope="module")
def voice():
    return voxstack.load("tone", folders=[ADDONS])


def test_limits_are_the_least_of_the_nets_that_must_see_the_whole(numpy_net):
    def net(axis, sizes, *, chunkable=False):
        ports = {"x": ("float32", [axis])}
        made = numpy_net(
            lambda x: {"y": x}, ports, {"y": ("float32", [axis])}, axis=axis, chunkable=chunkable
        )
        return replace(made, shapes=ShapePolicy(sizes))

    nets = [
        net("phonemes", Sizes((64, 128))),
        net("phonemes", Sizes(most=100)),
        net("phonemes", Sizes()),
        net("phonemes", Sizes((32,)), chunkable=True),
        net("frames", Sizes((500,))),
    ]
    assert limits_of(nets, golden_ids=40, golden_frames=100.0) == Limits(100, 500, 2.5)
    assert limits_of(nets[2:4]) == Limits()


def test_a_slow_voice_fits_fewer_ids_where_frames_are_limited():
    limits = Limits(most_ids=150, most_frames=500, frames_per_id=2.5)
    assert [limits.ids(speed) for speed in (0.5, 1.0, 2.0)] == [80, 150, 150]
    assert Limits(most_frames=500).ids() is None


def test_a_sentence_that_fits_is_left_as_it_is(voice):
    [utterance] = Fitting(voice.front, Limits(len(TEXT))).utterances(Sentence(TEXT, 3, 120))
    [phonemes] = voice.front.phonemize(Sentence(TEXT, 3, 120))
    np.testing.assert_array_equal(utterance.ids, phonemes.ids)
    assert (utterance.pause_ms, utterance.sentence) == (120, Sentence(TEXT, 3, 120))


def test_parts_say_every_word_at_its_place_with_a_short_pause_between(voice):
    utterances = Fitting(voice.front, Limits(most_ids=10)).utterances(Sentence(TEXT, 3, 120))
    assert [u.sentence.text for u in utterances] == PIECES
    assert [u.pause_ms for u in utterances] == [30] * 5 + [120]
    for utterance in utterances:
        start, stop = utterance.spans.min() - 3, utterance.spans.max() - 3
        assert TEXT[start:stop] == utterance.sentence.text.rstrip(",.")


def test_a_part_that_goes_on_ends_with_a_comma_where_the_voice_knows_one():
    ids = {char: [place] for place, char in enumerate("abcdefgh ,.")}
    front = build_front_end({"type": "characters", "phoneme_ids": ids})
    first = Fitting(front, Limits(most_ids=12)).utterances(Sentence("abcd efgh, abcd efgh."))
    assert ["".join(u.symbols) for u in first] == ["abcd efgh,", "abcd efgh."]
    second = Fitting(front, Limits(most_ids=12)).utterances(Sentence("abcd efgh abcd efgh."))
    assert ["".join(u.symbols) for u in second] == ["abcd efgh,", "abcd efgh."]
    assert int(second[0].spans.max()) == 9


def test_what_is_skipped_is_reported_once(voice):
    events = []
    with listening(events.append):
        parts = Fitting(voice.front, Limits(most_ids=8)).utterances(Sentence("abcd xyz efgh ijkl zz"))
    assert len(parts) > 1
    assert [event.values["skipped"] for event in events] == ["xyz", "zz"]


def test_a_word_that_does_not_fit_is_refused_by_name(voice):
    with pytest.raises(RequestError) as caught:
        Fitting(voice.front, Limits(most_ids=128)).utterances(Sentence("abc " + "abc" * 100 + " def"))
    assert str(caught.value) == (
        "text: 'abcabcabcabcabcabcabcabcabcabcabcabcabca…' has 300 ids, no more than 128 fit, and it cannot "
        "be cut, for it is one word or number; write it as several, or declare a larger size in the profile"
    )


def test_a_word_that_is_too_long_by_an_estimate_only_is_tried(voice):
    limits = Limits(most_frames=20, frames_per_id=5)
    assert len(Fitting(voice.front, limits).utterances(Sentence("abcdefgh ijkl"))) == 2


def test_mandarin_is_cut_between_characters_and_foreign_words_stay_whole():
    pytest.importorskip("pypinyin", reason="the extra 'mandarin' is not installed")
    sounds = ("j", "in1", "t", "ian1", "ian1", "q", "i4", "h", "en3", "ao3")
    ids = {sound: [place] for place, sound in enumerate(["sil", "^", *sounds])}
    front = build_front_end({"type": "pinyin", "phoneme_ids": ids, "start": ["sil"], "zero_initial": "^"})
    parts = Fitting(front, Limits(most_ids=8)).utterances(Sentence("今天天气ABC很好", 5))
    assert [part.sentence.text for part in parts] == ["今天天", "气ABC很好"]
    assert [(int(p.spans.min()), int(p.spans.max())) for p in parts] == [(5, 8), (8, 14)]
