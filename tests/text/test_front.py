"""The front end joins it all: whatever text comes is spoken, at exact offsets, or refused clearly."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxstack.core.errors import ConfigError, RequestError
from voxstack.core.events import Event, listening
from voxstack.core.text import FrontEnd, Phonemes, Sentence
from voxstack.stack.front import build_front_end

pytestmark = pytest.mark.unit

IDS: dict[str, Any] = json.loads((Path(__file__).parent / "piper_ids.json").read_text(encoding="utf-8"))[
    "phoneme_ids"
]
CHARACTERS: dict[str, Any] = {
    "type": "characters",
    "phoneme_ids": {char: [n] for n, char in enumerate(" abcdefgh.")},
}
ESPEAK: dict[str, Any] = {"type": "espeak", "voice": "en-us", "phoneme_ids": IDS}


def voiced(front: FrontEnd, text: str) -> list[Phonemes]:
    splitter = front.splitter()
    sentences = [*splitter.feed(text), *splitter.finish()]
    return [phonemes for sentence in sentences for phonemes in front.phonemize(sentence)]


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({}, "$.text.type: 'type' is missing; known: characters, espeak, pinyin"),
        ({"type": "espek"}, "$.text.type: no front end 'espek'; did you mean 'espeak'?"),
        ({**ESPEAK, "voise": "x"}, "$.text.voise: unknown key 'voise'; did you mean 'voice'?"),
        ({"type": "espeak", "phoneme_ids": IDS}, "$.text.voice: 'voice' is missing"),
        (
            {**ESPEAK, "max_characters": 5},
            "$.text.max_characters: got 5; input should be greater than or equal to 40",
        ),
        (
            {**ESPEAK, "start": "<>"},
            "$.text.start: '<>' has no ids in phoneme_ids; add it or set start to null",
        ),
        (
            {**CHARACTERS, "unknown": "?"},
            "$.text.unknown: '?' has no ids in phoneme_ids; add it or leave it out",
        ),
    ],
)
def test_mistakes_in_the_config_are_named_with_their_path(config: dict[str, Any], wanted: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_front_end(config)
    assert str(caught.value) == wanted


@given(st.text(st.characters() | st.sampled_from("abc. \n<>&😀\x00"), max_size=200))
def test_any_text_is_spoken_or_refused(text: str) -> None:
    found: list[Phonemes] = []
    try:
        found = voiced(build_front_end({**CHARACTERS, "lowercase": True}), text)
    except RequestError as error:
        lines = str(error).splitlines()
    else:
        lines = []
    assert len(lines) == (0 if found else 1)
    for phonemes in found:
        for symbol, (start, stop) in zip(phonemes.symbols, phonemes.spans.tolist(), strict=True):
            assert 0 <= start < stop <= len(text)
            if symbol.isalpha():
                assert (
                    stop - start > 1 or symbol in text[start:stop].lower() or not text[start:stop].isascii()
                )


@pytest.mark.parametrize(
    "text",
    [
        "Hello.",
        "a\x00b",
        "<speak>Hello <break time='1s'/> there.</speak>",
        "Hello мир and 世界, مرحبا",
        "word " * 10_000,
        "a" * 5000,
        "\x1b[31mred\x1b[0m and \N{GRINNING FACE} \ud83d",
    ],
)
def test_strange_texts_are_spoken(text: str) -> None:
    pytest.importorskip("espeakng_loader", reason="the extra 'espeak' is not installed")
    found = voiced(build_front_end(ESPEAK), text)
    assert found
    assert max(len(phonemes.ids) for phonemes in found) < 4000
    assert all(phonemes.spans.min() >= 0 and phonemes.spans.max() <= len(text) for phonemes in found)


@pytest.mark.parametrize("text", ["", "...", "?!", "\N{GRINNING FACE}", "\x00", "<break/>", "\ud83d"])
def test_texts_with_nothing_to_speak_are_refused(text: str) -> None:
    with pytest.raises(RequestError, match=r"^text: nothing to speak: got "):
        voiced(build_front_end(ESPEAK), text)


def test_offsets_reach_the_request_through_every_layer() -> None:
    pytest.importorskip("espeakng_loader", reason="the extra 'espeak' is not installed")
    pytest.importorskip("spokenform", reason="the extra 'normalise' is not installed")
    text = "Hi.  \x00<b>Dr. Smith</b> paid \N{GRINNING FACE}$12.50."
    words = {
        text[start:stop]
        for phonemes in voiced(build_front_end({**ESPEAK, "normalise": "en"}), text)
        for start, stop in phonemes.spans.tolist()
    }
    assert {"Hi", "Dr.", "Smith", "paid", "$12.50"} <= words


def test_phonemes_are_spelt_in_the_alphabet_of_the_voice() -> None:
    pytest.importorskip("espeakng_loader", reason="the extra 'espeak' is not installed")
    ids = {symbol: [n] for n, symbol in enumerate(["HH", "AH0", "L", "OW1", "W", "AO1", "T", "ER0"])}
    config = {"type": "espeak", "voice": "en-us", "phoneme_ids": ids, "alphabet": "arpabet"}
    [phonemes] = build_front_end({**config, "start": None, "end": None, "spacer": None}).phonemize(
        Sentence("Hello [[wˈɔːɾɚ wˈɔː]]")
    )
    assert " ".join(phonemes.symbols) == "HH AH0 L OW1 W AO1 T ER0 W AO1"
    assert phonemes.spans.tolist()[0] == [0, 5]
    assert phonemes.spans.tolist()[4] == [6, 21]


def test_characters_are_read_as_the_options_say() -> None:
    ids = {symbol: [n] for n, symbol in enumerate(["?", " ", "f", "i", "x"])}
    options = {"lowercase": True, "form": "NFKC", "spaces": "single", "unknown": "?"}
    [phonemes] = build_front_end({"type": "characters", "phoneme_ids": ids, **options}).phonemize(
        Sentence(" ﬁX  日本x ")
    )
    assert phonemes.symbols == ("f", "i", "x", " ", "?", "x")


def test_the_pause_follows_the_last_utterance_of_a_sentence() -> None:
    pytest.importorskip("espeakng_loader", reason="the extra 'espeak' is not installed")
    found = build_front_end(ESPEAK).phonemize(Sentence("Dr. Smith is here.", pause_ms=120))
    assert [phonemes.pause_ms for phonemes in found] == [0, 120]


def test_pauses_can_be_chosen() -> None:
    splitter = build_front_end({**CHARACTERS, "pauses_ms": {"sentence": 7}}).splitter()
    found = [*splitter.feed("Aa. Bb\n\nC"), *splitter.finish()]
    assert [sentence.pause_ms for sentence in found] == [7, 350, 0]


def test_unknown_characters_are_noticed() -> None:
    front = build_front_end(
        {**CHARACTERS, "phoneme_ids": {**CHARACTERS["phoneme_ids"], "?": [20]}, "unknown": "?"}
    )
    events: list[Event] = []
    with listening(events.append):
        found = voiced(front, "abc.\n\na\u0301d 大家 e.")
    assert ["".join(phonemes.symbols) for phonemes in found] == ["abc.", "a?d ? e."]
    assert [event.values["skipped"] for event in events] == ["a\u0301", "大家"]


def test_a_spacer_does_not_hide_what_is_unknown() -> None:
    ids = {symbol: [n] for n, symbol in enumerate("ab?")}
    options = {"type": "characters", "phoneme_ids": ids, "unknown": "?", "spacer": "a"}
    events: list[Event] = []
    with listening(events.append):
        voiced(build_front_end(options), "abXYb")
    assert [event.values for event in events] == [{"skipped": "XY", "span": [2, 4]}]
