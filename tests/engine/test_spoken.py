"""Which words of a text symbols voice, and which sounds each word has."""

import numpy as np
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from voxstack.core.errors import RequestError
from voxstack.core.text import Phonemes, Sentence
from voxstack.engine.spoken import spoken_words
from voxstack.stack.front import build_front_end

pytestmark = pytest.mark.unit

LETTERS = "abcdefghijklmnopqrstuvwxyzéäß"


def said(*symbols):
    """Return phonemes of (symbol, start, end)."""
    names, starts, ends = zip(*symbols, strict=True)
    ids = np.zeros(len(names), np.int64)
    return Phonemes(ids, names, np.array([starts, ends], np.int64).T)


def words(phonemes, text, start=0, silent=()):
    found = spoken_words(phonemes, Sentence(text, start), silent)
    return [(word.start, word.end, word.first, word.last) for word in found]


def test_spacers_behind_a_symbol_belong_to_its_word_and_frames_to_none():
    phonemes = said(
        ("^", 0, 0), ("_", 0, 0), ("h", 0, 2), ("_", 0, 2), ("i", 0, 2), ("_", 0, 2),
        (".", 2, 3), ("_", 2, 3), ("$", 3, 3),
    )  # fmt: skip
    assert words(phonemes, "Hi.") == [(0, 2, 2, 6)]
    [word] = spoken_words(phonemes, Sentence("Hi."))
    assert word.sounds == ((2, 4, "h"), (4, 6, "i"))


def test_a_spacer_that_looks_like_a_letter_is_known_by_name():
    phonemes = said(("a", 0, 1), ("<b>", 0, 1), ("c", 1, 2), ("<b>", 1, 2))
    assert spoken_words(phonemes, Sentence("ac"), {"<b>"})[0].sounds == ((0, 2, "a"), (2, 4, "c"))


def test_characters_of_one_word_are_one_word_at_its_place_in_the_request():
    phonemes = said(("a", 10, 11), ("b", 11, 12), (" ", 12, 13), ("c", 13, 14))
    assert words(phonemes, "ab c", start=10) == [(10, 12, 0, 2), (13, 14, 3, 4)]


def test_what_is_said_in_several_words_is_one_word_of_the_text():
    phonemes = said(("t", 0, 2), (" ", 2, 2), ("θ", 0, 2), ("k", 3, 7))
    assert words(phonemes, "23 cats") == [(0, 2, 0, 3), (3, 7, 3, 4)]


def test_words_that_are_said_in_one_are_one():
    assert words(said(("ʌ", 0, 6), ("v", 0, 6), ("d", 7, 10)), "of the dog") == [(0, 6, 0, 2), (7, 10, 2, 3)]


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("«Hi!»", "Hi"),
        ("'tis,", "tis"),
        ("don't.", "don't"),
        ("*bold*", "bold"),
        ("Dr.", "Dr"),
        ("$3.50,", "$3.50"),
        ("50%!", "50%"),
        ("C++", "C++"),
        ("(3°)", "3°"),
        ("*", "*"),
        ("🙂", "🙂"),
        ("Ba\u0301d…", "Ba\u0301d"),
    ],
)
def test_punctuation_around_a_word_is_not_of_it(text, own):
    [(start, end, _, _)] = words(said(("x", 0, len(text))), text)
    assert text[start:end] == own


def test_punctuation_that_has_a_sign_of_its_own_is_no_word():
    assert words(said(("a", 0, 1), (",", 1, 4), ("b", 5, 6)), "a, 🙂 b") == [(0, 1, 0, 1), (5, 6, 2, 3)]


def test_chinese_characters_are_words_and_pauses_are_silent():
    phonemes = said(
        ("n", 0, 1), ("i3", 0, 1), ("#3", 1, 3), ("^", 3, 4), ("uo3", 3, 4), ("#0", 4, 4), ("sil", 4, 4)
    )
    assert words(phonemes, "你，A我", silent={"#3", "#0"}) == [(0, 1, 0, 2), (3, 4, 3, 5)]


def test_a_mark_of_stress_goes_with_what_follows_and_one_of_length_with_what_it_follows():
    symbols = [(sign, 0, 5) for sign in "ˈɜːldˌo\u0303"]
    [word] = spoken_words(said(*symbols), Sentence("early"))
    assert [sound.value for sound in word.sounds] == ["ˈɜː", "l", "d", "ˌo\u0303"]
    assert [(sound.first, sound.last) for sound in word.sounds] == [(0, 3), (3, 4), (4, 5), (5, 8)]


def test_a_sign_for_no_initial_goes_with_its_final():
    [word] = spoken_words(said(("^", 0, 1), ("uo3", 0, 1)), Sentence("我"))
    assert word.sounds == ((0, 2, "^uo3"),)


@given(st.text(alphabet=f"{LETTERS.upper()[:5]}{LETTERS}   .,!?'-\t\n🙂你世12«»", min_size=1, max_size=60))
def test_words_do_not_overlap_and_hold_what_was_voiced(text):
    front = build_front_end(
        {
            "type": "characters",
            "lowercase": True,
            "phoneme_ids": {char: [place] for place, char in enumerate(f"{LETTERS} .,'-你世12")},
        }
    )
    splitter = front.splitter()
    try:
        sentences = [*splitter.feed(text), *splitter.finish()]
    except RequestError:  # there is nothing in it that can be spoken
        reject()
    for sentence in sentences:
        for phonemes in front.phonemize(sentence):
            found = spoken_words(phonemes, sentence)
            ends = [0]
            for word in sorted(found, key=lambda word: word.start):
                assert word.start >= ends[-1]
                assert not text[word.start : word.end].isspace()
                ends.append(word.end)
                assert word.first < word.last
                assert word.sounds[0].first == word.first
                assert all(sound.value for sound in word.sounds)
            letters = [place for place in range(len(text)) if text[place].lower() in f"{LETTERS}你世12"]
            voiced = {place for word in found for place in range(word.start, word.end)}
            inside = range(sentence.start, sentence.start + len(sentence.text))
            assert {place for place in letters if place in inside} <= voiced
