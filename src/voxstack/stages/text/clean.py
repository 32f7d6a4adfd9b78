"""Take out of a text what is not there to be spoken, and remember where the rest stood.

Dropped: control characters and NUL, bidirectional and zero-width signs, lone surrogates, emoji,
terminal colour codes, and well-formed tags of SSML and HTML (their text stays, their orders such
as a break are not obeyed). Kept: any other use of < and >, so `a < b` survives. The five XML
entities are read as their signs, and the text comes out in NFC.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache

from voxstack.stages.text.mapped import Edit, MappedText

__all__ = ["clean", "is_speakable"]

_BLOCK_TAGS = (
    "speak p s break br hr div li ul ol tr td th table h1 h2 h3 h4 h5 h6 audio desc par seq media "
    "title body html"
)
_INLINE_TAGS = (
    "prosody emphasis say-as phoneme sub voice mark w token lang lexicon lookup meta metadata "
    "b i em strong u s span a small big sup code q tt del ins font"
)
_NAMES = "|".join([*_BLOCK_TAGS.split(), *_INLINE_TAGS.split(), r"[a-z]+:[a-z][\w-]*"])
_ATTRIBUTES = r"""(?:\s+[\w:.-]+\s*=\s*(?:"[^"<>]{0,200}"|'[^'<>]{0,200}')){0,12}"""
_TAG = rf"</?(?P<tag>{_NAMES}){_ATTRIBUTES}\s*/?>"
_MARKUP = r"<!--.{0,400}?-->|<\?xml[^<>]{0,200}\?>|<!DOCTYPE[^<>]{0,200}>|<!\[CDATA\[|\]\]>"
_ENTITY = r"&(?P<entity>amp|lt|gt|quot|apos);"
_EMOJI = (
    "[\U0001f000-\U0001f0ff\U0001f10d-\U0001f10f\U0001f12f\U0001f16c-\U0001f171\U0001f17e\U0001f17f\U0001f18e"
    "\U0001f191-\U0001f19a\U0001f1e6-\U0001f1ff\U0001f201-\U0001faff\U000e0020-\U000e007f"
    "\u231a\u231b\u23e9-\u23fa\u25aa\u25ab\u25b6\u25c0\u25fb-\u25fe\u2600-\u27bf\u2b05-\u2b07\u2b1b\u2b1c"
    "\u2b50\u2b55\u3030\u303d\ufffc\ufffd]"
)
_ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_PLAIN = re.compile(r"[ !-%'-;=?-~]*")
_BLOCKS = frozenset(_BLOCK_TAGS.split())
_SPOKEN_SIGNS = "&%@#§+"


def clean(text: str, *, start: int = 0) -> MappedText:
    r"""Return what of `text` is there to be spoken; `start` is the offset of its first character.

    Example:
        >>> clean("<speak>Hi\x00 there \N{WAVING HAND SIGN}, a < b</speak>").text.split()
        ['Hi', 'there', ',', 'a', '<', 'b']
    """
    mapped = MappedText.of(text, start)
    if _PLAIN.fullmatch(text):
        return mapped
    mapped = mapped.edited(_edits(text))
    return (
        mapped if unicodedata.is_normalized("NFC", mapped.text) else mapped.edited(_compositions(mapped.text))
    )


def is_speakable(text: str) -> bool:
    """Answer whether a cleaned text has a letter, a number or a sign that has a name."""
    return any(unicodedata.category(char) in _SPOKEN or char in _SPOKEN_SIGNS for char in text)


_SPOKEN = frozenset(("Lu", "Ll", "Lt", "Lm", "Lo", "Nd", "Nl", "No", "Sc"))


@cache
def _unspoken() -> re.Pattern[str]:
    return re.compile(
        rf"(?P<markup>{_TAG}|{_MARKUP})|{_ENTITY}|(?P<colour>\x1b\[[0-9;]{{0,16}}[A-Za-z])"
        rf"|(?P<emoji>(?:{_EMOJI}[\u200d\ufe0e\ufe0f\u20e3]*)+)"
        r"|(?P<control>[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]+)|(?P<space>[\t\n\v\f\r\x85\u2028\u2029])"
        r"|(?P<hidden>[\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"
        r"\u20e3\ufe00-\ufe0f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]+)|(?P<joiner>[\u200c\u200d]+)",
        re.DOTALL | re.IGNORECASE,
    )


def _edits(text: str) -> Iterator[Edit]:
    for found in _unspoken().finditer(text):
        yield Edit(found.start(), found.end(), _replacement(found))


def _replacement(found: re.Match[str]) -> str:
    match found.lastgroup:
        case "entity":
            return _ENTITIES[found.group("entity").lower()]
        case "emoji" | "control" | "space":
            return " "
        case "markup":
            return "" if (found.group("tag") or "").lower() not in _BLOCKS else " "
        case "joiner":
            text, start, stop = found.string, found.start(), found.end()
            shaping = start > 0 and stop < len(text) and text[start - 1] > "\u0590" and text[stop] > "\u0590"
            return found.group()[:1] if shaping and text[stop].isalpha() else ""
        case _:
            return ""


def _compositions(text: str) -> Iterator[Edit]:
    """Yield an edit per letter with marks (or Hangul syllable) that NFC writes otherwise."""
    start = 0
    for stop in range(1, len(text) + 1):
        if stop < len(text) and (
            unicodedata.category(text[stop])[0] == "M" or "\u1160" <= text[stop] <= "\u11ff"
        ):
            continue
        composed = unicodedata.normalize("NFC", text[start:stop])
        if composed != text[start:stop]:
            yield Edit(start, stop, composed)
        start = stop
