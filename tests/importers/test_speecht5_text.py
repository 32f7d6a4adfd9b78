"""A text gets the ids that the library's tokenizer gives it, whatever stands in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from voxstack.core.errors import ImporterError
from voxstack.core.text import Sentence
from voxstack.importers.checkpoint import Checkpoint, read_checkpoint
from voxstack.importers.speecht5_text import read_text, remark_on
from voxstack.stack.front import build_front_end
from voxstack.stages.text.clean import clean

pytestmark = pytest.mark.slow

transformers = pytest.importorskip(
    "transformers", reason='transformers is not installed: pip install "voxstack[transformers]"'
)


NASTY = (
    "The quick brown fox jumps over the lazy dog.",
    "Is it a fine day, or isn't it?",
    "no",
    "Wait… what ﬁne jugs!",
    " no",
    "no ",
    "  no  fox  ",
    "fox\tand\nfox",
    "a\u00a0fine\u3000day\u2009now",
    "café",
    "cafe\u0301",
    "naïve fiancée",
    "ÉTÉ",
    "THE FIVE WIZARDS",
    "tHe FiVe",
    "Wait… what?",
    "ﬁve ﬂat ﬃ",
    "Ｆｕｌｌ ｗｉｄｔｈ",
    "𝐁𝐨𝐥𝐝 ℋ",
    "fox 語 fox",
    "fox語語語fox",
    "語fox",
    "fox語",
    "語 語語  語 fox",
    "12 foxes",
    "x² + y₃ = ½",
    "№ 5 ™ ©",
    "“quoted” ‘so’",
    "a-b–c—d",
    "a/b\\c|d_e",
    "fox&hound @ home #1",
    "o\u0308 x\u0301\u0302",
    "´fox¨ ¸fox",
    "ẞ straße ĳ",
    "¿qué? ¡sí!",
    "русский fox",
    "مرحبا fox",
    "ｶﾞ fox",
    "fox,fox.fox!fox?",
    "' fox '",
)
CLEANED = ("k\u200bo\u00adx", "a <b>fox</b>", "fox \N{FOX FACE}! fox", "fox &lt; fox", "\x1b[31mfox\x00")


def own_ids(path: Path, text: str) -> list[int]:
    return transformers.SpeechT5Tokenizer(str(path))(text).input_ids


@pytest.fixture
def checkpoint_of(tmp_path: Path, write_tokenizer: Callable[..., None]) -> Callable[..., Checkpoint]:
    """Return what makes a checkpoint with a tokenizer, changed by its trainer's options, without weights."""

    def checkpoint_of(**changes: Any) -> Checkpoint:
        (tmp_path / "config.json").write_text('{"model_type": "speecht5"}', encoding="utf-8")
        (tmp_path / "model.safetensors").touch()
        write_tokenizer(tmp_path / "spm_char.model", **changes)
        return read_checkpoint(tmp_path)

    return checkpoint_of


def test_ids_are_the_librarys_own(checkpoint_of: Callable[..., Checkpoint], tmp_path: Path) -> None:
    front = build_front_end(read_text(checkpoint_of()))

    for text in NASTY:
        (phonemes,) = front.phonemize(Sentence(text))
        assert phonemes.ids.tolist() == own_ids(tmp_path / "spm_char.model", text), text


def test_what_is_not_to_be_spoken_is_left_out_first(
    checkpoint_of: Callable[..., Checkpoint], tmp_path: Path
) -> None:
    front = build_front_end(read_text(checkpoint_of()))

    for text in CLEANED:  # the library speaks an unknown sign there
        (phonemes,) = front.phonemize(Sentence(text))
        assert phonemes.ids.tolist() == own_ids(tmp_path / "spm_char.model", clean(text).text), text


@pytest.mark.parametrize(
    ("options", "read"),
    [
        ({}, {"form": "NFKC", "spaces": "single", "lowercase": False, "start": " "}),
        ({"normalization_rule_name": "nmt_nfkc_cf"}, {"form": "NFKC", "lowercase": True}),
        ({"normalization_rule_name": "identity"}, {"form": "NFC", "spaces": "single"}),
        ({"remove_extra_whitespaces": False}, {"form": "NFKC", "spaces": "kept"}),
        ({"add_dummy_prefix": False}, {"start": None}),
    ],
    ids=["as published", "case folded", "as it stands", "all spaces", "no space first"],
)
def test_the_tokenizers_own_rules_are_found_out(
    checkpoint_of: Callable[..., Checkpoint], tmp_path: Path, options: dict[str, Any], read: dict[str, Any]
) -> None:
    text = read_text(checkpoint_of(**options))

    assert {key: text[key] for key in read} == read
    (phonemes,) = build_front_end(text).phonemize(Sentence("  Is it a fine…  DAY? 語語"))
    assert phonemes.ids.tolist() == own_ids(tmp_path / "spm_char.model", "  Is it a fine…  DAY? 語語")


def test_numbers_are_written_out_for_a_voice_that_is_english(
    checkpoint_of: Callable[..., Checkpoint], tmp_path: Path
) -> None:
    checkpoint = checkpoint_of()
    plain = read_text(checkpoint)
    (tmp_path / "README.md").write_text("---\nlanguage: en\n---\n", encoding="utf-8")
    english = read_text(checkpoint)

    assert ("normalise" in plain, english["normalise"]) == (False, "en")
    assert remark_on(plain) == "59 characters, no digits: write numbers out"
    assert remark_on(english) == "59 characters; numbers are written out in English"
    digits = {**plain, "phoneme_ids": {"1": [0], "a": [1], "</s>": [2]}}
    assert remark_on(digits) == "2 characters"


@pytest.mark.parametrize(
    ("positions", "characters"), [(450, 225), (60, 40), (4000, 400)], ids=["usual", "few", "many"]
)
def test_sentences_are_no_longer_than_half_of_what_the_model_has_positions_for(
    checkpoint_of: Callable[..., Checkpoint], tmp_path: Path, positions: int, characters: int
) -> None:
    checkpoint = checkpoint_of()
    (tmp_path / "config.json").write_text(f'{{"max_text_positions": {positions}}}', encoding="utf-8")

    assert read_text(checkpoint)["max_characters"] == characters


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (
            {"model_type": "bpe", "vocab_size": 80},
            "does not read character by character; want a tokenizer of characters",
        ),
        ({"model_type": "word"}, "knows no letter by itself; want a tokenizer of characters"),
    ],
    ids=["syllables", "words"],
)
def test_a_tokenizer_of_more_than_characters_is_refused(
    checkpoint_of: Callable[..., Checkpoint], tmp_path: Path, options: dict[str, Any], fault: str
) -> None:
    with pytest.raises(ImporterError) as caught:
        read_text(checkpoint_of(**options))

    assert str(caught.value) == f"{tmp_path / 'spm_char.model'}: {fault}"


def test_a_checkpoint_without_its_characters_is_refused(
    checkpoint_of: Callable[..., Checkpoint], tmp_path: Path
) -> None:
    checkpoint = checkpoint_of()
    (tmp_path / "spm_char.model").unlink()

    with pytest.raises(ImporterError) as caught:
        read_text(checkpoint)
    assert str(caught.value) == f"{tmp_path}: there is no spm_char.model, the characters that the model reads"


def test_a_tokenizer_that_is_none_is_refused(
    checkpoint_of: Callable[..., Checkpoint], tmp_path: Path
) -> None:
    checkpoint = checkpoint_of()
    (tmp_path / "spm_char.model").write_bytes(b"characters")

    with pytest.raises(ImporterError) as caught:
        read_text(checkpoint)
    assert str(caught.value) == f"{tmp_path / 'spm_char.model'}: not a sentencepiece model"


def test_a_tokenizer_of_another_model_is_refused(
    checkpoint_of: Callable[..., Checkpoint], tmp_path: Path
) -> None:
    checkpoint = checkpoint_of()
    (tmp_path / "config.json").write_text('{"vocab_size": 20}', encoding="utf-8")

    with pytest.raises(ImporterError, match=r"spm_char\.model: has 63 symbols; the model knows 20"):
        read_text(checkpoint)
