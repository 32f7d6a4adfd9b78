"""A text's own characters are its phonemes."""

from typing import Any

import pytest

from voxstack.core.errors import RequestError
from voxstack.stages.phonemes.characters import CharacterPhonemizer
from voxstack.stages.phonemes.symbols import SymbolTable

pytestmark = pytest.mark.unit

IDS = {"a": (1,), "b": (2, 3), "_": (0,), "^": (8,), "$": (9,), " ": (4,), "\u0301": (5,), "ß": (6,)}


def test_each_known_character_becomes_its_ids() -> None:
    [phonemes] = CharacterPhonemizer(SymbolTable(IDS)).phonemize("a, b")
    assert phonemes.ids.tolist() == [1, 4, 2, 3]
    assert phonemes.symbols == ("a", " ", "b", "b")
    assert phonemes.spans.tolist() == [[0, 1], [2, 3], [3, 4], [3, 4]]


def test_pad_start_and_end_frame_the_text() -> None:
    [phonemes] = CharacterPhonemizer(SymbolTable(IDS, spacer="_", start="^", end="$")).phonemize("aa")
    assert phonemes.ids.tolist() == [8, 0, 1, 0, 1, 0, 9]
    assert phonemes.spans.tolist() == [[0, 0], [0, 0], [0, 1], [0, 1], [1, 2], [1, 2], [2, 2]]


def test_letters_come_apart_and_case_goes_if_asked() -> None:
    [phonemes] = CharacterPhonemizer(SymbolTable(IDS), lowercase=True).phonemize("Áß")
    assert phonemes.ids.tolist() == [1, 5, 6]
    assert phonemes.spans.tolist() == [[0, 1], [0, 1], [1, 2]]


def symbols(ids: str, text: str, **options: Any) -> str:
    """Return the symbols of a text, joined by commas, for a table of some characters and "<unk>"."""
    table = SymbolTable({"<unk>": (0,), **{char: (place,) for place, char in enumerate(ids, 1)}})
    [phonemes] = CharacterPhonemizer(table, **options).phonemize(text)
    return ",".join(phonemes.symbols)


def test_capitals_that_have_ids_stay_large() -> None:
    assert symbols("abA", "ABab", lowercase=True) == "A,b,a,b"


def test_the_form_says_what_a_character_is_written_with() -> None:
    assert symbols("aáb\u0301fi", "áﬁ", form="NFC") == "á"
    assert symbols("aáb\u0301fi", "áﬁ", form="NFD") == "a,\u0301"
    assert symbols("aáb\u0301fi", "áﬁ", form="NFKC") == "á,f,i"
    assert symbols("aáb\u0301fi", "áﬁ", form="NFKD") == "a,\u0301,f,i"


def test_a_letter_whose_accent_is_unknown_is_read_without_and_what_is_unknown_is_skipped() -> None:
    assert symbols("ab", "å語b", form="NFC") == "a,b"


def test_a_run_of_unknown_characters_is_one_symbol_that_voices_them_all() -> None:
    table = SymbolTable({"a": (1,), " ": (2,), "?": (3, 4)})
    [phonemes] = CharacterPhonemizer(table, unknown="?").phonemize("aá語 語a")
    assert phonemes.ids.tolist() == [1, 1, 3, 4, 2, 3, 4, 1]
    assert phonemes.spans.tolist()[2:7] == [[1, 3], [1, 3], [3, 4], [4, 5], [4, 5]]


def test_space_stays_or_goes_at_the_ends_or_is_one_for_each_run() -> None:
    assert symbols("ab ", " a  b ") == " ,a, , ,b, "
    assert symbols("ab ", " a  b ", spaces="trimmed") == "a, , ,b"
    assert symbols("ab ", " a  b ", spaces="single") == "a, ,b"
    assert symbols("ab ", "a語 b. ", spaces="trimmed") == "a, ,b"
    assert symbols("ab ", "a \u00a0 b", spaces="single", form="NFKC") == "a, ,b"


def test_a_run_of_space_is_voiced_whole() -> None:
    [phonemes] = CharacterPhonemizer(SymbolTable(IDS), spaces="single").phonemize("a   a")
    assert phonemes.spans.tolist() == [[0, 1], [1, 4], [4, 5]]


def test_a_text_of_unknown_characters_alone_is_refused_even_where_they_have_a_symbol() -> None:
    with pytest.raises(RequestError, match="this voice knows no character of '語 語'; it knows: "):
        symbols("ab ", "語 語", unknown="<unk>")


def test_a_text_without_a_known_character_is_refused() -> None:
    with pytest.raises(RequestError) as caught:
        CharacterPhonemizer(SymbolTable({"a": (1,), "b": (2,)})).phonemize("xyz")
    assert str(caught.value) == "text: this voice knows no character of 'xyz'; it knows: a b"
