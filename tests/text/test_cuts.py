"""A sentence that is too long is cut at its best joints: few and even parts, never inside a word."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxstack.stages.text.cuts import best_cuts, joints

pytestmark = pytest.mark.unit

WORDS = st.lists(st.text("abcdefgh妈三,.", min_size=1, max_size=9), min_size=1, max_size=30).map(" ".join)


def parts(text: str, most: int) -> list[str]:
    """Cut a text into parts of at most so many characters, without the space between them."""
    places = [0, *best_cuts(joints(text), range(len(text) + 1), most=most), len(text)]
    return [text[start:stop].strip() for start, stop in pairwise(places)]


@pytest.mark.parametrize(
    ("text", "most", "wanted"),
    [
        ("one two three, four five six", 20, ["one two three,", "four five six"]),
        ('He shouted "go away!" and then he left us', 30, ['He shouted "go away!"', "and then he left us"]),
        ("one two three four and five six", 22, ["one two three four", "and five six"]),
        ("twelve parrots in eleven golden cages", 25, ["twelve parrots", "in eleven golden cages"]),
        ("she had never seen the doctor anywhere", 25, ["she had never seen", "the doctor anywhere"]),
        ("people without Mr. Smith or Dr. Jones", 25, ["people without Mr. Smith", "or Dr. Jones"]),
        ("今天天气很好，我们去公园散步", 10, ["今天天气很好，", "我们去公园散步"]),
        ("我们去公园散步好吗", 6, ["我们去公园", "散步好吗"]),
    ],
)
def test_a_clauses_end_is_best_then_before_a_short_word_then_any_space(
    text: str, most: int, wanted: list[str]
) -> None:
    assert parts(text, most) == wanted


def test_parts_are_few_and_even_and_none_is_left_alone() -> None:
    assert [len(part) for part in parts("word " * 11 + "word", 40)] == [29, 29]
    assert [len(part) for part in parts("word " * 8 + "end", 40)] == [24, 18]
    assert parts("seven words that are nearly all said, too", 40) != [
        "seven words that are nearly all said,",
        "too",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Donaudampfschifffahrtsgesellschaft",
        "3.141,592,653",
        "1 000 000 000",
        "三百二十五万",
        "コンピュータ",
        "[[ h ə l oʊ ]]",
        "<say-as interpret-as='date'>",
        "3：14",
    ],
)
def test_words_numbers_and_markup_have_no_joint(text: str) -> None:
    assert joints(text) == []


def test_what_is_too_long_wherever_it_is_cut_stays_whole() -> None:
    assert parts("a bb " + "c" * 40 + " dd e", 10) == ["a bb", "c" * 40, "dd e"]


@given(WORDS, st.integers(4, 40))
def test_whatever_the_text_no_word_is_cut_and_no_part_is_longer_than_it_must_be(text: str, most: int) -> None:
    cut = parts(text, most)
    assert "".join(cut).replace(" ", "") == text.replace(" ", "")
    for part in cut:
        assert len(part) <= most or not best_cuts(joints(part), range(len(part) + 1), most=most)
    if "妈" not in text and "三" not in text:
        assert " ".join(cut).split() == text.split()
