"""Turn Mandarin text into the initials and finals of its pinyin, by the pypinyin package.

The package (MIT) comes with the optional extra `mandarin` and is loaded at the first sentence.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import NamedTuple

from voxstack.core.errors import ConfigError, RequestError
from voxstack.core.text import Phonemes
from voxstack.stages.phonemes.symbols import Symbol, SymbolTable

__all__ = ["PinyinPhonemizer", "Spelling"]

_HAN = re.compile("[〇\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_SYLLABLE = re.compile("(?P<plain>[a-zê]+)(?P<tone>[1-5])")
_INITIAL = re.compile("[bpmfdtnlgkhjqxrzcs]h?")
# Pinyin writes a final otherwise where it begins a syllable, and shortens some behind an initial.
_GLIDES = (("yu", "v"), ("yi", "i"), ("y", "i"), ("wu", "u"), ("w", "u"))
_SHORT = {"iu": "iou", "ui": "uei", "un": "uen", "ue": "ve"}


def _holds_han(text: str) -> bool:
    """Answer whether a Chinese character stands in `text`."""
    return _HAN.search(text) is not None


@dataclass(frozen=True, slots=True)
class Spelling:
    """How a voice writes a syllable: as an initial, and a final with the tone's number behind it.

    zero_initial   the symbol where a syllable has no initial, or None for no symbol
    apical_vowels  what the i of zi, zhi, ri … is written as, for each initial
    syllables      the symbols of syllables (without tone) that follow no rule; the last takes the tone

    Example:
        >>> Spelling(zero_initial="^").symbols("you3"), Spelling().symbols("jun1")
        (('^', 'iou3'), ('j', 'vn1'))
    """

    zero_initial: str | None = None
    apical_vowels: Mapping[str, str] = field(default_factory=dict[str, str])
    syllables: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    def symbols(self, syllable: str) -> tuple[str, ...]:
        """Return the symbols of a syllable in pinyin with its tone's number, or none if it is not one."""
        found = _SYLLABLE.fullmatch(syllable)
        if found is None:
            return ()
        *before, last = self.syllables.get(found["plain"]) or self._by_rule(found["plain"])
        return (*before, last + found["tone"]) if last else ()

    def _by_rule(self, plain: str) -> tuple[str, ...]:
        start = _INITIAL.match(plain)
        initial = start.group() if start else ""
        final = plain.removeprefix(initial)
        if not initial:
            glide = next(
                ((written, meant) for written, meant in _GLIDES if plain.startswith(written)), ("", "")
            )
            final = glide[1] + plain.removeprefix(glide[0])
        elif initial in ("j", "q", "x"):
            final = re.sub("^u", "v", final)
        final = self.apical_vowels.get(initial, "i") if final == "i" and initial else _SHORT.get(final, final)
        sign = initial or self.zero_initial
        return (final,) if sign is None else (sign, final)


class _Syllable(NamedTuple):
    symbols: tuple[str, ...]
    place: int


@dataclass(frozen=True, slots=True)
class PinyinPhonemizer:
    """Give every Chinese character's initial and final; other characters are skipped.

    separator    stands between two syllables, and voices what the text has between them
    pauses       what stands there instead, for each character that asks for a pause
    start, end   frame the utterance, and voice nothing
    tone_sandhi  say 一, 不 and third tones as their neighbours change them

    Raises:   RequestError if no character of the text can be spoken; ConfigError if pypinyin is
              not installed
    Example:
        >>> ids = {sign: (n,) for n, sign in enumerate(["n", "i3", "h", "ao3", "-", "$"])}
        >>> [p.symbols for p in PinyinPhonemizer(ids, separator="-", end=("$",)).phonemize("你 好！")]
        [('n', 'i3', '-', 'h', 'ao3', '$')]
    """

    ids: Mapping[str, tuple[int, ...]]
    spelling: Spelling = field(default_factory=Spelling)
    separator: str | None = None
    pauses: Mapping[str, str] = field(default_factory=dict[str, str])
    start: tuple[str, ...] = ()
    end: tuple[str, ...] = ()
    tone_sandhi: bool = False

    def knows(self, text: str) -> bool:
        """Answer whether any character of `text` can be spoken."""
        return _holds_han(text) and next(self._syllables(text), None) is not None

    def phonemize(self, text: str) -> list[Phonemes]:
        syllables = list(self._syllables(text))
        phonemes = SymbolTable(self.ids).encode(self._framed(text, syllables)) if syllables else None
        if phonemes is None:
            got = ascii(text[:40] + "...") if len(text) > 40 else repr(text)
            raise RequestError(
                f"nothing to speak: this voice has no sounds for {got}; write it in Chinese characters",
                where="text",
            )
        return [phonemes]

    def _syllables(self, text: str) -> Iterator[_Syllable]:
        for place, written in enumerate(_read(text, self.tone_sandhi)):
            symbols = self.spelling.symbols(written)
            if symbols and all(symbol in self.ids for symbol in symbols):
                yield _Syllable(symbols, place)

    def _framed(self, text: str, syllables: list[_Syllable]) -> Iterator[Symbol]:
        first, last = syllables[0].place, syllables[-1].place + 1
        yield from (Symbol(sign, first, first) for sign in self.start)
        done = None
        for symbols, place in syllables:
            if done is not None:
                sign = self._between(text[done:place])
                yield from () if sign is None else (Symbol(sign, done, place),)
            yield from (Symbol(symbol, place, place + 1) for symbol in symbols)
            done = place + 1
        yield from (Symbol(sign, last, last) for sign in self.end)

    def _between(self, skipped: str) -> str | None:
        return next((self.pauses[char] for char in skipped if char in self.pauses), self.separator)


def _read(text: str, tone_sandhi: bool) -> list[str]:
    """Return the pinyin of every character of `text`, or a sign that is none."""
    found = _pinyin()(text, tone_sandhi)
    if len(found) != len(text):
        raise RequestError(f"pypinyin gives {len(found)} syllables for {len(text)} characters", where="text")
    return found


@cache
def _pinyin() -> Callable[[str, bool], list[str]]:
    try:
        library = import_module("pypinyin")
    except ImportError as error:
        raise ConfigError(
            "the addon asks for pinyin, which needs the package pypinyin; "
            "install it with: pip install 'voxstack[mandarin]'",
            where="$.text.type",
        ) from error

    def read(text: str, tone_sandhi: bool) -> list[str]:
        return library.lazy_pinyin(
            text,
            style=library.Style.TONE3,
            errors=_not_pinyin,
            neutral_tone_with_five=True,
            tone_sandhi=tone_sandhi,
        )

    return read


def _not_pinyin(chars: str) -> list[str]:
    return ["-"] * len(chars)
