"""Find which words of a text the phoneme words of its clause voice."""

import re
from collections.abc import Callable
from difflib import SequenceMatcher
from typing import NamedTuple

__all__ = ["Span", "align", "divide", "spoken_words"]

_TOKEN = re.compile(r"\S+")
_NAMED_SIGNS = "&%@#$€£¥+=<>*/§°"
_SIMPLE = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_SILENT = str.maketrans("", "", "ˈˌːˑ ʲ-_|")


class Span(NamedTuple):
    """A stretch of text: start and stop offsets in characters."""

    start: int
    stop: int


def spoken_words(text: str, start: int, stop: int) -> list[Span]:
    """Return the words in text[start:stop], without the punctuation around them."""
    words: list[Span] = []
    for found in _TOKEN.finditer(text, start, stop):
        first, last = found.span()
        while first < last and not _is_spoken(text[first]):
            first += 1
        while first < last and not _is_spoken(text[last - 1]):
            last -= 1
        if first < last:
            words.append(Span(first, last))
    return words


def align(
    phonemes: list[str], words: list[str], sound: Callable[[list[str]], list[str]]
) -> list[tuple[int, int]]:
    """Return, for each phoneme word, the first and last of the `words` that it voices.

    Equal counts of plain words pair up. Otherwise (numbers become many words, "of the" becomes
    one) `sound` tells how each word sounds alone, and the two strings of sounds are matched.
    """
    if len(phonemes) == len(words) and all(_SIMPLE.fullmatch(word) for word in words):
        return [(place, place) for place in range(len(words))]
    if len(words) < 2 or not phonemes:
        return [(0, max(len(words) - 1, 0))] * len(phonemes)
    heard, heard_owner = _joined(phonemes)
    alone, alone_owner = _joined(sound(words))
    found: list[list[int]] = [[] for _ in phonemes]
    matched: set[int] = set()
    for block in SequenceMatcher(None, heard, alone, autojunk=False).get_matching_blocks():
        for step in range(block.size):
            found[heard_owner[block.a + step]].append(alone_owner[block.b + step])
            matched.add(block.a + step)
    goes_on = [False] * len(phonemes)
    for place, owner in enumerate(heard_owner):  # the last sound of each phoneme word says
        goes_on[owner] = place not in matched
    return _stretched(_filled(found, len(words)), goes_on)


def divide(piece: str, words: list[str], sound: Callable[[list[str]], list[str]]) -> list[int] | None:
    """Return, for each sign of a phoneme word that voices several `words`, the place of the one it voices.

    None if one of them has no sound in it.

    Example:
        >>> divide("ʌvðə", ["of", "the"], lambda words: ["ʌv", "ðə"])
        [0, 0, 1, 1]
    """
    alone, owner = _joined(sound(words))
    owners: list[int | None] = [None] * len(piece)
    for block in SequenceMatcher(None, piece, alone, autojunk=False).get_matching_blocks():
        for step in range(block.size):
            owners[block.a + step] = owner[block.b + step]
    for place in reversed(range(len(piece) - 1)):  # a stress mark belongs to what follows
        if piece[place] in "ˈˌ":
            owners[place] = owners[place + 1]
    heard = max((place for place, owned in enumerate(owners) if owned is not None), default=0)
    if owners[heard] == len(words) - 2:  # a last word that sounds otherwise alone, such as the a of "of a"
        owners[heard + 1 :] = [len(words) - 1] * (len(piece) - heard - 1)
    found: list[int] = []
    for place in owners:
        before = found[-1] if found else 0
        found.append(before if place is None else max(before, place))
    return found if set(found) == set(range(len(words))) else None


def _filled(found: list[list[int]], count: int) -> list[tuple[int, int]]:
    """Give a phoneme word that matched nothing the words between its neighbours', or else those as well."""
    spans: list[tuple[int, int]] = []
    for place, owners in enumerate(found):
        if owners:
            spans.append((owners[0], owners[-1]))
            continue
        before = spans[-1][1] if spans else 0
        after = next((later[0] for later in found[place + 1 :] if later), count - 1)
        is_free = bool(spans) and before + 1 < after
        spans.append((before + 1, after - 1) if is_free else (before, max(before, after)))
    return spans


def _stretched(spans: list[tuple[int, int]], goes_on: list[bool]) -> list[tuple[int, int]]:
    """Give the word behind a phoneme word to it if no other has it, and it ends with sounds of no other."""
    stretched = [
        (first, last + 1) if is_longer and last + 2 == after else (first, last)
        for (first, last), (after, _), is_longer in zip(spans, spans[1:], goes_on, strict=False)
    ]
    return [*stretched, *spans[-1:]]


def _joined(words: list[str]) -> tuple[str, list[int]]:
    plain = [word.translate(_SILENT) for word in words]
    return "".join(plain), [place for place, word in enumerate(plain) for _ in word]


def _is_spoken(char: str) -> bool:
    return char.isalnum() or char in _NAMED_SIGNS
