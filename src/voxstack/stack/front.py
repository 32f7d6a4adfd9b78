"""Build the front end that an addon's `text` object describes: sentences, words, phonemes, ids."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, Protocol, TypeAlias

import numpy as np
from pydantic import Field

from voxstack.core.errors import ConfigError, RequestError, suggest
from voxstack.core.text import FrontEnd, Phonemes, Sentence, Splitter
from voxstack.stack.strict import validated
from voxstack.stages.phonemes.arpabet import arpabet
from voxstack.stages.phonemes.characters import CharacterPhonemizer, Form, Spaces
from voxstack.stages.phonemes.espeak import EspeakPhonemizer
from voxstack.stages.phonemes.pinyin import PinyinPhonemizer, Spelling
from voxstack.stages.phonemes.symbols import SymbolTable
from voxstack.stages.text.clean import clean, is_speakable
from voxstack.stages.text.known import KnownSplitter
from voxstack.stages.text.mapped import MappedText
from voxstack.stages.text.normalise import Normaliser
from voxstack.stages.text.sentences import PAUSES_MS, Boundary, SentenceSplitter
from voxstack.stages.text.skipped import report_skipped, unheard
from voxstack.stages.text.speakable import SpeakableSplitter, shown

__all__ = ["CharactersText", "EspeakText", "PinyinText", "build_front_end"]

_PATH = "$.text"
Ids = dict[str, tuple[int, ...]]
MaxCharacters = Annotated[int, Field(ge=40, le=2000)]
PauseMs = Annotated[int, Field(ge=0, le=10_000)]


@dataclass(frozen=True, kw_only=True)
class EspeakText:
    """Options of `"type": "espeak"`: phonemes of an espeak-ng voice, framed by signs."""

    type: Literal["espeak"]
    voice: str
    phoneme_ids: Ids
    alphabet: Literal["ipa", "arpabet"] = "ipa"
    start: str | None = "^"
    end: str | None = "$"
    spacer: str | None = "_"
    normalise: str | None = None
    max_characters: MaxCharacters = 400
    pauses_ms: dict[Boundary, PauseMs] = field(default_factory=dict[Boundary, int])

    @property
    def silent(self) -> frozenset[str]:
        return frozenset()

    def phonemizer(self) -> "Phonemizer":
        spell = arpabet if self.alphabet == "arpabet" else None
        return EspeakPhonemizer(self.voice, _table(self), spell)

    def splitter(self) -> Splitter:
        return _splitter(self)


@dataclass(frozen=True, kw_only=True)
class CharactersText:
    """Options of `"type": "characters"`: the text's own characters, framed only where asked for."""

    type: Literal["characters"]
    phoneme_ids: Ids
    lowercase: bool = False
    form: Form = "NFD"
    spaces: Spaces = "kept"
    unknown: str | None = None
    start: str | None = None
    end: str | None = None
    spacer: str | None = None
    normalise: str | None = None
    max_characters: MaxCharacters = 400
    pauses_ms: dict[Boundary, PauseMs] = field(default_factory=dict[Boundary, int])

    @property
    def silent(self) -> frozenset[str]:
        return frozenset() if self.unknown is None else frozenset((self.unknown,))

    def phonemizer(self) -> CharacterPhonemizer:
        _check_sign(self, "unknown", self.unknown, "leave it out")
        return CharacterPhonemizer(
            _table(self),
            lowercase=self.lowercase,
            form=self.form,
            spaces=self.spaces,
            unknown=self.unknown,
        )

    def splitter(self) -> Splitter:
        return _splitter(self)


@dataclass(frozen=True, kw_only=True)
class PinyinText:
    """Options of `"type": "pinyin"`: initials and finals of Mandarin, framed by signs."""

    type: Literal["pinyin"]
    phoneme_ids: Ids
    start: tuple[str, ...] = ()
    end: tuple[str, ...] = ()
    separator: str | None = None
    pauses: dict[Annotated[str, Field(min_length=1, max_length=1)], str] = field(
        default_factory=dict[str, str]
    )
    zero_initial: str | None = None
    apical_vowels: dict[str, str] = field(default_factory=dict[str, str])
    syllables: dict[str, Annotated[tuple[str, ...], Field(min_length=1)]] = field(
        default_factory=dict[str, tuple[str, ...]]
    )
    tone_sandhi: bool = False
    normalise: str | None = None
    clause_ends: str = ""
    max_characters: MaxCharacters = 400
    pauses_ms: dict[Boundary, PauseMs] = field(default_factory=dict[Boundary, int])

    @property
    def silent(self) -> frozenset[str]:
        return frozenset(self.pauses.values()) | ({self.separator} if self.separator else frozenset[str]())

    def phonemizer(self) -> PinyinPhonemizer:
        signs = {
            "separator": self.separator,
            "zero_initial": self.zero_initial,
            **{f"start[{place}]": sign for place, sign in enumerate(self.start)},
            **{f"end[{place}]": sign for place, sign in enumerate(self.end)},
            **{f"pauses.{char}": sign for char, sign in self.pauses.items()},
        }
        for key, sign in signs.items():
            _check_sign(self, key, sign, "leave it out")
        return PinyinPhonemizer(
            self.phoneme_ids,
            Spelling(self.zero_initial, self.apical_vowels, self.syllables),
            separator=self.separator,
            pauses=self.pauses,
            start=self.start,
            end=self.end,
            tone_sandhi=self.tone_sandhi,
        )

    def splitter(self) -> Splitter:
        knows = _knows(self.phonemizer().knows, self)
        return KnownSplitter(_splitter(self, self.clause_ends), knows, "write it in Chinese characters")


_Options: TypeAlias = EspeakText | CharactersText | PinyinText
_TYPES: Mapping[str, type[_Options]] = {
    "espeak": EspeakText,
    "characters": CharactersText,
    "pinyin": PinyinText,
}


class Phonemizer(Protocol):
    """Turn cleaned text into utterances whose spans count in that text."""

    def phonemize(self, text: str) -> list[Phonemes]: ...


@dataclass(frozen=True, slots=True)
class _FrontEnd:
    phonemizer: Phonemizer
    normaliser: Normaliser | None
    options: _Options

    def splitter(self) -> Splitter:
        return self.options.splitter()

    def phonemize(self, sentence: Sentence) -> list[Phonemes]:
        mapped = clean(sentence.text, start=sentence.start)
        if not is_speakable(mapped.text):
            raise RequestError(
                f"nothing to speak: got only {shown(sentence.text)}; send at least one letter or number",
                where="text",
            )
        if self.normaliser is not None:
            mapped = self.normaliser.normalise(mapped)
        utterances = self.phonemizer.phonemize(mapped.text)
        self._report_skipped(sentence, mapped, utterances)
        placed = [replace(phonemes, spans=mapped.origins(phonemes.spans)) for phonemes in utterances]
        return [*placed[:-1], replace(placed[-1], pause_ms=sentence.pause_ms)]

    def _report_skipped(self, sentence: Sentence, mapped: MappedText, utterances: list[Phonemes]) -> None:
        stretches = list(unheard(mapped.text, utterances, silent=self.options.silent))
        if stretches:
            for start, stop in mapped.origins(np.array(stretches, dtype=np.int64)).tolist():
                report_skipped(sentence.text[start - sentence.start : stop - sentence.start], start)


def build_front_end(config: Mapping[str, Any]) -> FrontEnd:
    """Return the front end that addon.json's `text` object describes; it loads nothing heavy yet.

    In:       config  "type" ("espeak", "characters" or "pinyin") and that type's options; common ones are
                      normalise (a language, or null), max_characters of an utterance, pauses_ms
    Raises:   ConfigError with the path of what is wrong, such as $.text.voise
    Example:
        >>> front = build_front_end({"type": "characters", "phoneme_ids": {"h": [1], "i": [2]}})
        >>> [phonemes.ids.tolist() for phonemes in front.phonemize(Sentence("hi"))]
        [[1, 2]]
    """
    kind = config.get("type")
    if kind is None:
        raise ConfigError(f"'type' is missing{suggest('', _TYPES)}", where=f"{_PATH}.type")
    if not isinstance(kind, str) or kind not in _TYPES:
        raise ConfigError(f"no front end {kind!r}{suggest(str(kind), _TYPES)}", where=f"{_PATH}.type")
    options = validated(_TYPES[kind], config, path=_PATH)
    return _FrontEnd(
        options.phonemizer(),
        None if options.normalise is None else Normaliser(options.normalise),
        options,
    )


def _splitter(options: _Options, clause_ends: str = "") -> Splitter:
    pauses_ms: dict[Boundary, int] = {**PAUSES_MS, **options.pauses_ms}
    return SpeakableSplitter(SentenceSplitter(options.max_characters, pauses_ms, clause_ends))


def _knows(knows: Callable[[str], bool], options: _Options) -> Callable[[str], bool]:
    """Return whether anything of a cleaned text, as it is or in words, can be spoken."""
    if options.normalise is None:
        return knows
    normaliser = Normaliser(options.normalise)
    return lambda text: knows(text) or knows(normaliser.normalise(MappedText.of(text)).text)


def _table(options: EspeakText | CharactersText) -> SymbolTable:
    for key, sign in (("start", options.start), ("end", options.end), ("spacer", options.spacer)):
        _check_sign(options, key, sign, f"set {key} to null")
    return SymbolTable(options.phoneme_ids, spacer=options.spacer, start=options.start, end=options.end)


def _check_sign(options: _Options, key: str, sign: str | None, otherwise: str) -> None:
    if sign is not None and sign not in options.phoneme_ids:
        raise ConfigError(
            f"{sign!r} has no ids in phoneme_ids; add it or {otherwise}", where=f"{_PATH}.{key}"
        )
