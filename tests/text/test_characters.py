"""A text's own characters are its phonemes."""

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


def test_a_text_without_a_known_character_is_refused() -> None:
    with pytest.raises(RequestError) as caught:
        CharacterPhonemizer(SymbolTable({"a": (1,), "b": (2,)})).phonemize("xyz")
    assert str(caught.value) == "text: this voice knows no character of 'xyz'; it knows: a b"
