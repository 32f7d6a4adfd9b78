"""What is not there to be spoken goes; what stays still knows where it stood."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxstack.core.errors import RequestError
from voxstack.stages.text.clean import clean, is_speakable
from voxstack.stages.text.known import KnownSplitter
from voxstack.stages.text.mapped import Edit, MappedText
from voxstack.stages.text.sentences import SentenceSplitter
from voxstack.stages.text.speakable import SpeakableSplitter

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Plain text, as it is.", "Plain text, as it is."),
        ("a < b and c > d", "a < b and c > d"),
        ("a List<int> in x<y", "a List<int> in x<y"),
        ("<speak>Hi <b>th</b>ere</speak>", " Hi there "),
        ('<prosody rate="slow">Go</prosody><break time="1s"/>now', "Go now"),
        ("<mstts:express-as style='sad'>No</mstts:express-as>", "No"),
        ("Salt &amp; pepper &lt;3", "Salt & pepper <3"),
        ("Hi\N{WAVING HAND SIGN}\N{EMOJI MODIFIER FITZPATRICK TYPE-3}there", "Hi there"),
        ("\N{MAN}\u200d\N{WOMAN}\u200d\N{GIRL} 1\ufe0f\u20e3", "  1"),
        ("a\x00b\x07", "a b "),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\u202eabc\u200b\ufeff\u00ad", "abc"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("x\ud800y", "xy"),
        ("e\u0301t\u00e9", "\u00e9t\u00e9"),
        ("one\r\ntwo\tthree", "one  two three"),
    ],
)
def test_cleaning(text: str, wanted: str) -> None:
    assert clean(text).text == wanted


@given(st.text(st.characters(), max_size=80), st.integers(0, 1000))
def test_the_map_is_monotone_and_inside_the_text(text: str, start: int) -> None:
    mapped = clean(text, start=start)
    assert len(mapped.text) == len(mapped.starts) == len(mapped.stops)
    assert (np.diff(mapped.starts) >= 0).all()
    assert (np.diff(mapped.stops) >= 0).all()
    assert (mapped.starts >= start).all()
    assert (mapped.stops <= start + len(text)).all()
    for char, first, last in zip(mapped.text, mapped.starts - start, mapped.stops - start, strict=True):
        if last - first == 1 and char != " ":
            assert char in unicodedata.normalize("NFC", text[first])  # a few signs become two


@given(st.text("aeou\u0301\u0308\u0327 ñ한글각\u1100\u1161\u11a8", max_size=30))
def test_text_comes_out_composed(text: str) -> None:
    assert unicodedata.is_normalized("NFC", clean(text).text)


def test_edits_map_as_blocks_through_two_layers() -> None:
    mapped = MappedText.of("I owe $5 &amp; so on", start=10).edited([Edit(9, 14, "and")])
    mapped = mapped.edited([Edit(6, 8, "five dollars")])
    assert mapped.text == "I owe five dollars and so on"
    assert mapped.origins(np.array([[6, 10], [19, 22], [23, 25], [28, 28]])).tolist() == [
        [16, 18],
        [19, 24],
        [25, 27],
        [30, 30],
    ]


@pytest.mark.parametrize("text", ["a", "7", "你", "&", "€", "x..."])
def test_letters_numbers_and_named_signs_are_speakable(text: str) -> None:
    assert is_speakable(text)


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("", "got an empty text"),
        ("?!", "got only '?!'"),
        ("\N{GRINNING FACE}", "got only '\N{GRINNING FACE}'"),
        ("\x00\x00", r"got only '\x00\x00'"),
        ("<speak/>", "got only '<speak/>'"),
        (" \n ", r"got only ' \n '"),
        ("*" * 100, f"got only '{'*' * 40}…'"),
    ],
)
def test_a_text_with_nothing_to_speak_is_refused_in_one_line(text: str, got: str) -> None:
    splitter = SpeakableSplitter(SentenceSplitter())
    assert splitter.feed(text) == []
    with pytest.raises(RequestError) as caught:
        splitter.finish()
    assert str(caught.value) == f"text: nothing to speak: {got}; send at least one letter or number"


def test_silent_sentences_between_others_are_dropped() -> None:
    splitter = SpeakableSplitter(SentenceSplitter())
    found = splitter.feed("Hello.\n\n***\n\n\N{GRINNING FACE}\n\nBye.") + splitter.finish()
    assert [sentence.text for sentence in found] == ["Hello.", "Bye."]


@pytest.mark.parametrize("known", [False, True])
def test_a_flush_of_nothing_to_speak_is_no_error_before_the_end(known):
    splitter = SpeakableSplitter(SentenceSplitter())
    if known:
        splitter = KnownSplitter(splitter, lambda text: "好" in text, "write Chinese")
    assert splitter.feed("... ") == splitter.flush() == []
    assert splitter.feed("好") == []
    assert [sentence.text for sentence in splitter.flush()] == ["好"]
    assert splitter.finish() == []
