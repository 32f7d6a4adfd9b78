"""Find the best places to cut a sentence that is too long to be voiced as one utterance."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

__all__ = ["Joint", "best_cut", "best_cuts", "joints"]

_WIDE = "[\u3040-\u30ff\u3400-\u9fff]"
_MARKUP = re.compile(r"\[\[.*?\]\]|<[a-zA-Z/!?][^<>]*>", re.DOTALL)
_KATAKANA, _NUMERALS = "[\u30a1-\u30ff]", "[〇零一二两三四五六七八九十百千万亿点]"
_UNCUT = re.compile(rf"\d(?=\s\d)|(?<={_KATAKANA})(?={_KATAKANA})|(?<={_NUMERALS})(?={_NUMERALS})")

_LEANING = (
    (re.compile(r"(?<!\S)\w{1,3}(?=\s)"), 0.75),
    (re.compile(r"(?<=\w)(?=\s\w{1,3}\s)"), -0.25),
    (re.compile(r"\S\.(?=\s)"), 1.0),
)
"""What a place costs besides. A short word ("the", "de", "zu") leans on the next, so it is better cut before
than behind; and behind "Mr." nobody pauses, yet a voice would take it for the sentence's end."""

SHORT, SHORT_COST = 0.25, 8.0
"""A part below this share of what fits is short; what each share that it lacks costs."""

OVER_COST = 100.0
"""What a part costs that is too long, times its share: more than any number of cuts."""


class Joint(NamedTuple):
    """A place where a text may be cut, behind so many characters; the better, the less it costs."""

    place: int
    cost: float


class _Boundary(NamedTuple):
    """What to cut behind, the least share of a limit (1/n) that it must fill, and what it costs."""

    pattern: re.Pattern[str]
    share: int
    cost: float


@cache
def _boundaries() -> tuple[_Boundary, ...]:
    """Return what to cut behind, best first.

    The costs say that two clauses' ends are as good as one cut between any two words.
    """
    closers = "[\"'”’)\\]]"
    between = r"[、，；：](?<!\d.(?=\d))"
    conjunctions = "and|or|but|because|which|that|und|oder|aber|et|ou|mais|y|o|pero|e|ma|och|en|i|и|или|но"
    return (
        _Boundary(re.compile(rf"(?:[,;:—–،؛՝፣!?…]{closers}*|\.{closers}+)(?=\s)|{between}"), 3, 1.0),
        _Boundary(re.compile(rf"\S(?=\s(?:{conjunctions})\s)", re.IGNORECASE), 2, 1.75),
        _Boundary(re.compile(r"\S(?=\s)"), 0, 2.0),
        _Boundary(re.compile(f"{_WIDE}(?={_WIDE})"), 0, 2.5),
    )


def best_cut(text: str, *, limit: int) -> int:
    """Return how many characters of `text`, at most `limit`, to voice first.

    A clause's end in the last two thirds is best, then a conjunction in the last half, then any
    space, then between two wide characters; only an endless word is cut hard, yet never between
    a letter and its marks.

    Example:
        >>> best_cut("one two, three four", limit=14)
        8
    """
    for pattern, share, _ in _boundaries():
        cut = _last(pattern, text, limit // share if share else 1, limit)
        if cut:
            return cut
    return _whole_characters(text, limit)


def joints(text: str) -> list[Joint]:
    """Return all places where `text` may be cut: never inside a word, a number or markup.

    Example:
        >>> [place for place, _ in joints("one two, 3 000 <b>four</b>")]
        [3, 8, 14]
    """
    found: dict[int, float] = {}
    for pattern, _, cost in _boundaries():
        for match in pattern.finditer(text.rstrip()):
            found.setdefault(match.end(), cost)
    for pattern, cost in _LEANING:
        for match in pattern.finditer(text):
            found[match.end()] = found.get(match.end(), 0.0) + cost
    for place in _inner_places(text):
        found.pop(place, None)
    return [Joint(place, cost) for place, cost in sorted(found.items()) if text[place:].strip()]


def best_cuts(places: Sequence[Joint], steps: Sequence[int], *, most: int, framing: int = 0) -> list[int]:
    """Return at which of `places` to cut, once at least, so that no part has more than `most` steps.

    The parts are few and even, the joints good, and nothing short is left alone. A part that would be
    too long wherever it is cut stays so.

    In:       steps    of the text before each character and, last, of the whole
              framing  steps that each part has besides
    Example:
        >>> text = "one two three, four five six"
        >>> best_cuts(joints(text), range(len(text) + 1), most=20)
        [14]
    """
    edges = [Joint(0, 0.0), *places, Joint(len(steps) - 1, 0.0)]
    costs, befores = [0.0], [0]
    for stop in range(1, len(edges)):
        best, before = float("inf"), 0
        for start in range(stop - 1, -1, -1):
            share = (steps[edges[stop].place] - steps[edges[start].place] + framing) / most
            if share > 1 and best < float("inf"):
                break
            is_whole = start == 0 and stop == len(edges) - 1
            cost = costs[start] + edges[start].cost + _cost(share)
            if cost < best and not is_whole:
                best, before = cost, start
        costs.append(best)
        befores.append(before)
    cuts: list[int] = []
    place = befores[-1]
    while place:
        cuts.append(edges[place].place)
        place = befores[place]
    return cuts[::-1]


def _cost(share: float) -> float:
    """Return what a part costs that fills such a share of what fits: squares make parts even."""
    return share**2 + SHORT_COST * max(SHORT - share, 0.0) + (OVER_COST * share if share > 1 else 0.0)


def _inner_places(text: str) -> Iterator[int]:
    """Yield the places that no cut may be at, whatever stands there."""
    for match in _MARKUP.finditer(text):
        yield from range(match.start() + 1, match.end())
    for match in _UNCUT.finditer(text):
        yield match.end()


def _last(pattern: re.Pattern[str], text: str, least: int, limit: int) -> int:
    cut = 0
    for found in pattern.finditer(text):
        if least <= found.end() <= limit:
            cut = found.end()
    return cut


def _whole_characters(text: str, limit: int) -> int:
    for cut in range(limit, max(limit - 16, 1), -1):
        joined = text[cut : cut + 1]
        glued = (
            joined == "\u200d" or text[cut - 1] == "\u200d" or unicodedata.category(joined or "a")[0] == "M"
        )
        if not glued:
            return cut
    return limit
