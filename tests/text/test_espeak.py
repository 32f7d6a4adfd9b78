"""The phoneme ids are those of piper-tts, and each knows which word of the text it voices."""

import hashlib
import json
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from voxstack.core.errors import ConfigError, RequestError
from voxstack.core.text import Phonemes
from voxstack.stages.phonemes import library
from voxstack.stages.phonemes.espeak import EspeakPhonemizer
from voxstack.stages.phonemes.symbols import SymbolTable
from voxstack.stages.phonemes.terminators import terminator_of

pytestmark = pytest.mark.unit

PIPER: dict[str, Any] = json.loads((Path(__file__).parent / "piper_ids.json").read_text(encoding="utf-8"))
TABLE = SymbolTable({symbol: tuple(ids) for symbol, ids in PIPER["phoneme_ids"].items()}, "_", "^", "$")

# piper-tts brings espeak-ng's newer dictionary, espeakng-loader that of release 1.52.
DIFFERENT = {
    "Breaking news: the match has been cancelled.": "the newer dictionary reads 'has been' as one word"
}


@pytest.fixture
def english() -> EspeakPhonemizer:
    pytest.importorskip("espeakng_loader", reason="the extra 'espeak' is not installed")
    return EspeakPhonemizer("en-us", TABLE)


def voiced(text: str, phonemes: Phonemes) -> list[tuple[str, str]]:
    """Join symbols that voice the same stretch: [("həlˈoʊ", "Hello"), …]."""
    words: list[tuple[str, tuple[int, int]]] = []
    for symbol, (start, stop) in zip(phonemes.symbols, phonemes.spans.tolist(), strict=True):
        if symbol in "_^$ ":
            continue
        if words and words[-1][1] == (start, stop):
            words[-1] = (words[-1][0] + symbol, (start, stop))
        else:
            words.append((symbol, (start, stop)))
    return [(word, text[start:stop]) for word, (start, stop) in words]


@pytest.mark.parametrize("sentence", PIPER["sentences"])
def test_ids_are_those_of_piper(english: EspeakPhonemizer, sentence: str) -> None:
    got = [
        [
            "".join(phonemes.symbols[2:-1:2]),
            hashlib.sha256(",".join(map(str, phonemes.ids)).encode()).hexdigest()[:16],
        ]
        for phonemes in english.phonemize(sentence)
    ]
    assert (got == PIPER["sentences"][sentence]) == (sentence not in DIFFERENT), got


def test_the_list_is_long_and_varied() -> None:
    lines = (Path(__file__).parent / "sentences_en.txt").read_text(encoding="utf-8").splitlines()
    assert lines == list(PIPER["sentences"])
    assert len(lines) >= 200


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Hello, world!", [("həlˈoʊ", "Hello"), (",", ","), ("wˈɜːld", "world"), ("!", "!")]),
        (
            "the end of the road",
            [("ðɪʲ", "the"), ("ˈɛnd", "end"), ("ʌv", "of"), ("ðə", "the"), ("ɹˈoʊd", "road")],
        ),
        (
            "cats for a boy",
            [("kˈæts", "cats"), ("fɚɹ", "for"), ("ə", "a"), ("bˈɔɪ", "boy")],
        ),
        ("in a car", [("ɪn", "in"), ("ɐ", "a"), ("kˈɑːɹ", "car")]),
        ("In 21 cats", [("ɪn", "In"), ("twˈɛntiwˈʌn", "21"), ("kˈæts", "cats")]),
        ('He said "no."', [("hiː", "He"), ("sˈɛd", "said"), ("nˈoʊ", "no"), (".", '."')]),
        ("über 5 €", [("ˈuːbɚ", "über"), ("fˈaɪv", "5"), ("jˈʊɹɹoʊz", "€")]),
    ],
)
def test_every_phoneme_knows_its_word(
    english: EspeakPhonemizer, text: str, wanted: list[tuple[str, str]]
) -> None:
    [phonemes] = english.phonemize(text)
    got = voiced(text, phonemes)
    assert got == wanted


def test_spans_never_go_back(english: EspeakPhonemizer) -> None:
    for sentence in PIPER["sentences"]:
        for phonemes in english.phonemize(sentence):
            starts, stops = phonemes.spans[:, 0], phonemes.spans[:, 1]
            assert (starts[1:] >= starts[:-1]).all(), sentence
            assert (stops >= starts).all(), sentence
            assert stops.max() <= len(sentence)


def test_raw_phonemes_stand_between_double_brackets(english: EspeakPhonemizer) -> None:
    [phonemes] = english.phonemize("Say [[ kˈæt ]] now.")
    assert "".join(phonemes.symbols[2:-1:2]) == "sˈeɪ kˈæt nˈaʊ."


def test_many_threads_get_what_one_gets(english: EspeakPhonemizer) -> None:
    german = EspeakPhonemizer("de", TABLE)
    wanted = (
        english.phonemize("The idea is old.")[0].symbols,
        german.phonemize("Die Idee ist alt.")[0].symbols,
    )
    wrong: list[object] = []

    def speak() -> None:
        for _ in range(50):
            got = (
                english.phonemize("The idea is old.")[0].symbols,
                german.phonemize("Die Idee ist alt.")[0].symbols,
            )
            if got != wanted:
                wrong.append(got)

    threads = [threading.Thread(target=speak) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_an_unknown_voice_is_a_clear_error(english: EspeakPhonemizer) -> None:
    with pytest.raises(ConfigError) as caught:
        EspeakPhonemizer("xx-yy", english.table).phonemize("hi")
    assert str(caught.value) == (
        "$.text.voice: espeak-ng has no voice 'xx-yy'; use a language such as 'en-us', 'de' or 'fr-fr'"
    )


def test_a_text_without_sounds_is_refused(english: EspeakPhonemizer) -> None:
    with pytest.raises(RequestError, match=r"^text: espeak-ng voice 'en-us' has no sounds for '<'"):
        english.phonemize("<")


def test_without_the_package_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    monkeypatch.setattr(library, "_loaded", [])
    with pytest.raises(ConfigError) as caught:
        EspeakPhonemizer("en-us", TABLE).phonemize("hi")
    assert str(caught.value) == (
        "$.text.type: the addon asks for espeak-ng phonemes, which need the package espeakng-loader; "
        "install it with: pip install 'voxstack[espeak]'"
    )


@pytest.mark.parametrize(
    ("clause", "last", "wanted"),
    [
        ("Hello, ", False, (",", False)),
        ("What?! ", False, ("?", True)),
        ("ab...", True, ("", False)),
        ("One.\n\n", False, ("", True)),
        ('He said "no."', True, (".", True)),
        ("so —", True, (";", False)),
        ("你好。", False, ("", True)),
        ("and then", True, ("", True)),
    ],
)
def test_terminators(clause: str, last: bool, wanted: tuple[str, bool]) -> None:
    assert terminator_of(clause, last=last) == wanted
