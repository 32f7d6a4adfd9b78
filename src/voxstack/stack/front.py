"""Build the front end that an addon's `text` object describes: sentences, words, phonemes, ids."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field

from voxstack.core.errors import ConfigError, RequestError, suggest
from voxstack.core.text import FrontEnd, Phonemes, Sentence, Splitter
from voxstack.stack.strict import validated
from voxstack.stages.phonemes.characters import CharacterPhonemizer
from voxstack.stages.phonemes.espeak import EspeakPhonemizer
from voxstack.stages.phonemes.symbols import SymbolTable
from voxstack.stages.text.clean import clean, is_speakable
from voxstack.stages.text.normalise import Normaliser
from voxstack.stages.text.sentences import PAUSES_MS, Boundary, SentenceSplitter
from voxstack.stages.text.speakable import SpeakableSplitter, shown

__all__ = ["CharactersText", "EspeakText", "build_front_end"]

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
    start: str | None = "^"
    end: str | None = "$"
    spacer: str | None = "_"
    normalise: str | None = None
    max_characters: MaxCharacters = 400
    pauses_ms: dict[Boundary, PauseMs] = field(default_factory=dict[Boundary, int])

    def phonemizer(self) -> "Phonemizer":
        return EspeakPhonemizer(self.voice, _table(self))


@dataclass(frozen=True, kw_only=True)
class CharactersText:
    """Options of `"type": "characters"`: the text's own characters, framed only where asked for."""

    type: Literal["characters"]
    phoneme_ids: Ids
    lowercase: bool = False
    start: str | None = None
    end: str | None = None
    spacer: str | None = None
    normalise: str | None = None
    max_characters: MaxCharacters = 400
    pauses_ms: dict[Boundary, PauseMs] = field(default_factory=dict[Boundary, int])

    def phonemizer(self) -> "Phonemizer":
        return CharacterPhonemizer(_table(self), lowercase=self.lowercase)


_TYPES: Mapping[str, type[EspeakText] | type[CharactersText]] = {
    "espeak": EspeakText,
    "characters": CharactersText,
}


class Phonemizer(Protocol):
    """Turn cleaned text into utterances whose spans count in that text."""

    def phonemize(self, text: str) -> list[Phonemes]: ...


@dataclass(frozen=True, slots=True)
class _FrontEnd:
    phonemizer: Phonemizer
    normaliser: Normaliser | None
    max_characters: int
    pauses_ms: Mapping[Boundary, int]

    def splitter(self) -> Splitter:
        return SpeakableSplitter(SentenceSplitter(self.max_characters, self.pauses_ms))

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
        placed = [replace(phonemes, spans=mapped.origins(phonemes.spans)) for phonemes in utterances]
        return [*placed[:-1], replace(placed[-1], pause_ms=sentence.pause_ms)]


def build_front_end(config: Mapping[str, Any]) -> FrontEnd:
    """Return the front end that addon.json's `text` object describes; it loads nothing heavy yet.

    In:       config  "type" ("espeak" or "characters") and that type's options; common ones are
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
        options.max_characters,
        {**PAUSES_MS, **options.pauses_ms},
    )


def _table(options: EspeakText | CharactersText) -> SymbolTable:
    for key, sign in (("start", options.start), ("end", options.end), ("spacer", options.spacer)):
        if sign is not None and sign not in options.phoneme_ids:
            raise ConfigError(
                f"{sign!r} has no ids in phoneme_ids; add it or set {key} to null", where=f"{_PATH}.{key}"
            )
    return SymbolTable(options.phoneme_ids, spacer=options.spacer, start=options.start, end=options.end)
