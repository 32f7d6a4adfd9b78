"""Sentences come early, whole, at exact offsets, and never depend on how the text was cut into pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxstack.core.text import Sentence
from voxstack.stages.text.sentences import SentenceSplitter

pytestmark = pytest.mark.unit

WORDS = "a He Dr. Mr U.S. e.g. 3.14 no. 7 Jan the And é e\u0301 😀 你好 word supercalifragilistic"
SIGNS = '. ! ? … ... , ; : — 。 ！ ？ ؟ । ” " ( ) [ <b> < > [[ ]] \x00 \u200d'
SPACES = [" ", "  ", "\n", "\n\n", "\r\n", "\t", "\u2029", "\x85", " " * 70, "x" * 45]
PARTS = st.sampled_from([*WORDS.split(), *SIGNS.split(), *SPACES, *SPACES])
TEXTS = st.lists(PARTS, max_size=60).map("".join)


def split(text: str, *, pieces: list[str] | None = None, max_characters: int = 400) -> list[Sentence]:
    splitter = SentenceSplitter(max_characters)
    sentences = [sentence for piece in pieces or [text] for sentence in splitter.feed(piece)]
    return sentences + splitter.finish()


def texts(text: str, *, max_characters: int = 400) -> list[str]:
    return [sentence.text for sentence in split(text, max_characters=max_characters)]


@given(TEXTS, st.lists(st.integers(1, 40), min_size=1), st.sampled_from([40, 60, 400]))
def test_the_pieces_do_not_matter(text: str, sizes: list[int], limit: int) -> None:
    pieces: list[str] = []
    start = 0
    while start < len(text):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(text[start : start + size])
        start += size
    whole = split(text, max_characters=limit)
    assert split(text, pieces=pieces, max_characters=limit) == whole
    assert split(text, pieces=list(text), max_characters=limit) == whole


@given(TEXTS, st.sampled_from([40, 400]))
def test_nothing_but_spaces_is_lost_and_no_sentence_is_too_long(text: str, limit: int) -> None:
    place = 0
    for sentence in split(text, max_characters=limit):
        assert not text[place : sentence.start].strip()
        place = sentence.start + len(sentence.text)
        assert text[sentence.start : place] == sentence.text
        assert 0 < len(sentence.text) <= limit
    assert not text[place:].strip()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Hello, world! How are you? Fine.", ["Hello, world!", "How are you?", "Fine."]),
        (
            "Mr. Smith met Dr. Jones, e.g. in the U.S. Army.",
            ["Mr. Smith met Dr. Jones, e.g. in the U.S. Army."],
        ),
        ("He left the U.S. The end.", ["He left the U.S.", "The end."]),
        ("J. K. Rowling wrote it. I read it.", ["J. K. Rowling wrote it.", "I read it."]),
        ("Pi is 3.14. See no. 5 and fig. 3.", ["Pi is 3.14.", "See no. 5 and fig. 3."]),
        ("Born on Jan. 5. Then he left.", ["Born on Jan. 5.", "Then he left."]),
        ("Am 3. Mai war es. Er ist 25. Dann.", ["Am 3. Mai war es.", "Er ist 25.", "Dann."]),
        ("Wait... what? Well... No.", ["Wait... what?", "Well...", "No."]),
        ('"Stop!" she said. "Go." He went.', ['"Stop!" she said.', '"Go."', "He went."]),
        ("(It rained.) We left.", ["(It rained.)", "We left."]),
        ("你好。世界！是吗？「好。」他说", ["你好。", "世界！", "是吗？", "「好。」", "他说"]),
        ("मैं हूँ। तुम? هل أنت؟ نعم.", ["मैं हूँ।", "तुम?", "هل أنت؟", "نعم."]),
        ("One\ntwo\nThree\n\nFour", ["One\ntwo", "Three", "Four"]),
        ("Visit example.com/a?b=1 now.", ["Visit example.com/a?b=1 now."]),
        ('<speak>Hi <break time="1. S"/> you.</speak>', ['<speak>Hi <break time="1. S"/> you.</speak>']),
        ("  \n ", []),
    ],
)
def test_sentences_end_where_people_end_them(text: str, wanted: list[str]) -> None:
    assert texts(text) == wanted


def test_each_kind_of_boundary_has_its_pause_and_the_end_has_none() -> None:
    found = split("One. Two\n\nThree " + "x" * 60 + " end", max_characters=60)
    assert [sentence.pause_ms for sentence in found] == [120, 350, 30, 30, 0]


def test_a_sentence_is_given_as_soon_as_the_next_one_begins() -> None:
    splitter = SentenceSplitter()
    assert splitter.feed("Hello there. ") == []
    assert [sentence.text for sentence in splitter.feed("H")] == ["Hello there."]


@pytest.mark.parametrize(
    "text", ["Hello there.\n\n", "Hello there\r\n\r\n", "Mr. \n \n", '"No."\u2029', "3.\n\n"]
)
def test_a_blank_line_means_speak_now(text: str) -> None:
    assert SentenceSplitter().feed(text) == [Sentence(text.strip(), pause_ms=350)]


@pytest.mark.parametrize("text", ["Hello there.\n", "Hello there.\r\n", "Hello there. ", "<b a='.\n\n"])
def test_what_is_not_certain_waits(text: str) -> None:
    assert SentenceSplitter().feed(text) == []


def test_a_long_sentence_is_cut_at_its_best_inner_boundary() -> None:
    assert (
        texts("one two three four, five six seven and eight nine ten", max_characters=40)[0]
        == "one two three four,"
    )
    assert texts("one two three four five six and seven eight nine", max_characters=40)[0].endswith("six")
    assert texts("aaaa " * 20, max_characters=42)[0] == "aaaa aaaa aaaa aaaa aaaa aaaa aaaa aaaa"
    assert [len(text) for text in texts("x" * 100, max_characters=40)] == [40, 40, 20]
    assert texts("e\u0301" * 40, max_characters=41)[0] == "e\u0301" * 20


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("妈" * 60 + "。", [40, 21]),
        ("妈" * 62 + "！好。", [40, 23, 2]),
        ("x" * 61, [40, 21]),
        ("妈" * 60, [60]),
        ("x" * 60 + " \n", [60]),
        ("妈" * 80, [60, 20]),
        ("four " * 12 + "end.", [39, 24]),
    ],
)
def test_no_cut_leaves_an_orphan(text: str, lengths: list[int]) -> None:
    assert [len(sentence) for sentence in texts(text, max_characters=60)] == lengths


@pytest.mark.parametrize(
    "text", ["a" * 200_000, " " * 200_000, "!" * 200_000, "\n" * 200_000, "<a" * 100_000]
)
def test_an_endless_text_keeps_memory_flat(text: str) -> None:
    splitter = SentenceSplitter()
    for start in range(0, len(text), 1000):
        splitter.feed(text[start : start + 1000])
        assert len(splitter._text) < 4000  # pyright: ignore[reportPrivateUsage]


def test_ten_thousand_words_are_split() -> None:
    found = split("The fox, it ran. " * 2500)
    assert len(found) == 2500
    assert found[-1].start == 17 * 2499


def test_a_flush_gives_what_there_is_and_the_text_goes_on_behind_it() -> None:
    splitter = SentenceSplitter()
    assert splitter.feed(" One. Two and") == [Sentence("One.", 1, 120)]
    assert splitter.flush() == [Sentence("Two and", 6, 120)]
    assert splitter.flush() == []
    assert splitter.feed(" three.\n\nFour") == [Sentence("three.", 14, 350)]
    assert splitter.finish() == [Sentence("Four", 22, 0)]
