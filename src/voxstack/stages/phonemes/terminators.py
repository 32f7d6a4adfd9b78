"""Tell which punctuation ended a clause that espeak-ng read, from the text that it consumed.

The stock library hands back a clause's phonemes and how far it has read, not why it stopped. Many
voices were trained with that reason (the terminator) among their phonemes, so it is derived here.
The tables were found by asking espeak-ng about every code point.
"""

import re
from typing import NamedTuple

__all__ = ["Terminator", "terminator_of"]


class Terminator(NamedTuple):
    """The sign that ends a clause ("" for none) and whether a sentence ends with it."""

    sign: str
    ends_sentence: bool


def _table() -> dict[str, Terminator]:
    kinds = (
        (",", False, ",՝،܂߸༔፣᠂᠈⸲⸴⹁꓾꘍꛵︐︑﹐﹑､𑑍𝪇🄁🄂🄃🄄🄅🄆🄇🄈🄉🄊"),
        (":", False, ":܆܇፥፦᠄⦂꛴︓﹕𒑱𒑲𝪊"),
        (";", False, ";\u0387؛܈፤–—⁏⸵⸺⸻꛶︔︱︲﹔𝪉"),
        (".", True, ".۔܁܄።᙮᠃᠉⒈⒉⒊⒋⒌⒍⒎⒏⒐⒑⒒⒓⒔⒕⒖⒗⒘⒙⒚⒛⳹⳾⸳⸼꓿꘎꛳︒﹒｡𖫵𛲟𝪈🄀"),
        ("?", True, "?\u037e؟܉፧᥅⁇❓❔⳺⳻꘏꛷︖﹖𑅃𞥟"),
        ("!", True, "!܃߹᥄‼❕❗❢❣︕﹗𞥞"),
        ("", False, "¡¿ຯ᠁…⋮⋯⋰⋱、︙，：；"),
        ("", True, "։܀।॥෴།༎჻፨\u2029。！．？"),
    )
    return {char: Terminator(sign, ends) for sign, ends, chars in kinds for char in chars}


_TABLE = _table()
_BRACKETS = "\"'`()<>[]{}“”‘’«»„"
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")
_NOTHING = Terminator("", False)
_PARAGRAPH = Terminator("", True)


def terminator_of(clause: str, *, last: bool) -> Terminator:
    """Return how `clause` ended; `last` says that the text ended with it.

    `clause` is what espeak-ng consumed for it, without the first letter of the next clause.

    Example:
        >>> terminator_of("What?! ", last=False)
        Terminator(sign='?', ends_sentence=True)
        >>> terminator_of("and then", last=True)
        Terminator(sign='', ends_sentence=True)
    """
    tail = len(clause)
    while tail and not clause[tail - 1].isalnum():
        tail -= 1
    run = clause[tail:]
    if _BLANK_LINE.search(run):
        return _PARAGRAPH
    if tail == 0 and last:
        return _PARAGRAPH
    for place, char in enumerate(run):
        if run.startswith("...", place):
            return _NOTHING
        found = _TABLE.get(char)
        if found is not None and (not found.sign or _may_end(run, place + 1)):
            return found
    return _PARAGRAPH if last else _NOTHING


def _may_end(run: str, place: int) -> bool:
    while place < len(run) and run[place] in _TABLE:
        place += 1
    return place == len(run) or run[place].isspace() or run[place] in _BRACKETS
