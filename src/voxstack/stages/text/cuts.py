"""Find the best place to cut a sentence that is too long to be voiced as one utterance."""

import re
import unicodedata
from functools import cache

__all__ = ["best_cut"]

_WIDE = "[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"


@cache
def _boundaries() -> tuple[tuple[re.Pattern[str], int], ...]:
    """Return what to cut behind, best first, each with the least share of the limit (1/n) it must fill."""
    conjunctions = "and|or|but|because|which|that|und|oder|aber|et|ou|mais|y|o|pero|e|ma|och|en|i|и|или|но"
    return (
        (re.compile(r"[,;:—–،؛՝፣][\"'”’)\]]*(?=\s)|[、，；：]"), 3),
        (re.compile(rf"\S(?=\s(?:{conjunctions})\s)", re.IGNORECASE), 2),
        (re.compile(r"\S(?=\s)"), 0),
        (re.compile(f"{_WIDE}(?={_WIDE})"), 0),
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
    for pattern, share in _boundaries():
        cut = _last(pattern, text, limit // share if share else 1, limit)
        if cut:
            return cut
    return _whole_characters(text, limit)


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
