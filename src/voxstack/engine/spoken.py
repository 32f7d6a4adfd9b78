"""Find which words of the client's text an utterance's symbols voice, and which sounds each word has."""

import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from voxstack.core.text import Phonemes, Sentence

__all__ = ["Sound", "SpokenWord", "spoken_words"]

_STRESS = "ˈˌ"
_SIGNS = "&%@#"
_READ_ALONE = "*/§"
_ALONE = re.compile("[〇\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
"""Chinese characters: each is a word of its own, for the text does not say where one ends."""

_JOINS = "'’ʼ-‐‑\u200c\u200d"
_JOINS_DIGITS = ".,:"


class Sound(NamedTuple):
    """A phoneme with the marks around it: its symbols, which are numbers first to last - 1."""

    first: int
    last: int
    value: str


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word, text[start:end] of the request's, and the symbols first to last - 1 that voice it."""

    start: int
    end: int
    first: int
    last: int
    sounds: tuple[Sound, ...]


class _Voiced(NamedTuple):
    """Symbols first to last - 1, of which the first is more than a spacer, and the text that they voice."""

    first: int
    last: int
    start: int
    end: int


def spoken_words(phonemes: Phonemes, sentence: Sentence, silent: Collection[str] = ()) -> list[SpokenWord]:
    """Return the words of a sentence that an utterance voices, in the order in which they begin.

    A word is what stands between spaces and punctuation, or one Chinese character. What is voiced by
    the same symbols is one word: "3.5", "$5", and "of the" where the front end says it in one.

    In:       sentence  as it stands in the request's text; the utterance is all or a part of it
              silent    symbols that voice nothing, such as spacers
    """
    voiced = list(_voiced(phonemes, sentence, silent))
    words: list[SpokenWord] = []
    for start, end in _joined([*_tokens(sentence), *((some.start, some.end) for some in voiced)]):
        own = [some for some in voiced if start <= some.start < end]
        if own:
            first, last = own[0].first, max(some.last for some in own)
            words.append(SpokenWord(start, end, first, last, tuple(_sounds(phonemes.symbols, own))))
    return sorted(words, key=lambda word: word.first)


def _voiced(phonemes: Phonemes, sentence: Sentence, silent: Collection[str]) -> Iterator[_Voiced]:
    """Yield the symbols that voice words, each with those behind it that only lengthen it."""
    found: _Voiced | None = None
    before: tuple[int, int] | None = None
    for place, (symbol, span) in enumerate(zip(phonemes.symbols, phonemes.spans.tolist(), strict=True)):
        start, end = span
        if symbol in silent or all(unicodedata.category(char)[0] in "PZ" for char in symbol):
            if found is not None and before == (start, end):
                found = found._replace(last=place + 1)
            continue
        if found is not None:
            yield found
        found, before = None, (start, end)
        own = _trimmed(sentence, start, end)
        if own is not None:
            found = _Voiced(place, place + 1, *own)
    if found is not None:
        yield found


def _trimmed(sentence: Sentence, start: int, end: int) -> tuple[int, int] | None:
    """Return a span without the punctuation around it; None if nothing is left that can be spoken."""
    low, high = max(start - sentence.start, 0), min(end - sentence.start, len(sentence.text))
    for more in ("", _READ_ALONE):
        spoken = [
            place
            for place in range(low, high)
            if _is_spoken(sentence.text[place]) or sentence.text[place] in more
        ]
        if spoken:
            return spoken[0] + sentence.start, spoken[-1] + 1 + sentence.start
    return None


def _tokens(sentence: Sentence) -> Iterator[tuple[int, int]]:
    """Yield the stretches of a text that are no more than one word."""
    text, begin = sentence.text, None
    for place in range(len(text) + 1):
        is_alone = place < len(text) and _ALONE.match(text[place]) is not None
        is_inside = place < len(text) and not is_alone and (_is_letter(text[place]) or _joins(text, place))
        if begin is not None and not is_inside:
            yield begin + sentence.start, place + sentence.start
            begin = None
        if is_alone:
            yield place + sentence.start, place + 1 + sentence.start
        elif is_inside and begin is None:
            begin = place


def _joined(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return what spans cover, those that overlap as one."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if found and start < found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def _sounds(symbols: Sequence[str], voiced: Sequence[_Voiced]) -> Iterator[Sound]:
    """Yield a word's phonemes: a stress mark goes with what follows, other marks with what they follow."""
    found: Sound | None = None
    is_begun = False
    for first, last, *_ in voiced:
        symbol = symbols[first]
        has_letter = any(
            _is_letter(char) and unicodedata.category(char) not in ("Lm", "Mn") for char in symbol
        )
        if found is not None and is_begun and (has_letter or symbol in _STRESS):
            yield found
            found, is_begun = None, False
        found = (
            Sound(first, last, symbol) if found is None else Sound(found.first, last, found.value + symbol)
        )
        is_begun = is_begun or has_letter
    if found is not None:
        yield found


def _is_letter(char: str) -> bool:
    """Answer whether it is a letter, a digit or an accent of one."""
    return unicodedata.category(char)[0] in "LNM"


def _is_spoken(char: str) -> bool:
    return _is_letter(char) or char in _SIGNS or unicodedata.category(char) in ("Sm", "Sc", "So")


def _joins(text: str, place: int) -> bool:
    """Answer whether the sign at `place` stands inside a word, as in don't, well-known and 3.5."""
    if not 0 < place < len(text) - 1:
        return False
    before, after = text[place - 1], text[place + 1]
    if text[place] in _JOINS_DIGITS:
        return before.isdigit() and after.isdigit()
    return text[place] in _JOINS and _is_letter(before) and _is_letter(after)
