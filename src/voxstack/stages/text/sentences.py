"""Cut text that is still being written into sentences, as early as that is safe."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias

from voxstack.core.text import Sentence
from voxstack.stages.text.abbreviations import continues_sentence, depends_on_next_word
from voxstack.stages.text.cuts import best_cut

__all__ = ["PAUSES_MS", "Boundary", "SentenceSplitter", "may_end"]

Boundary: TypeAlias = Literal["sentence", "paragraph", "split", "clause"]
PAUSES_MS: Mapping[Boundary, int] = MappingProxyType(
    {"sentence": 120, "paragraph": 350, "split": 30, "clause": 200}
)

_LINE_ENDS = "\n\r\v\f\x85\u2028\u2029"
# These end a sentence only before a space; those do without, and never stand inside a number.
_SPACED = ".!?…‼⁇⁈⁉"
_UNSPACED = "。！？｡．؟۔।॥։።፧။។"
_ENDS = _SPACED + _UNSPACED
_CLOSERS = "\"'”’)]}»›」』）】》〉"
_OPENERS = "\"'“‘([{«‹¿¡—–-*_#•<>「『（【《〈"
_NEXT_WORD = re.compile(r"[^\W_]*")
# How far past a stop to look; what is still undecided there is a boundary.
_LOOKAHEAD = 64
# A clause with fewer letters than this is joined to the next, and a sentence's last one to that before.
_LEAST_CLAUSE = 6
# No cut leaves so few characters of a sentence, or fewer.
_ORPHAN = 6
_MARKUP = (("<", ">", 256), ("[[", "]]", 256))


def may_end(text: str) -> bool:
    """Answer whether a text that is being written looks as if its last sentence were whole.

    Example:
        >>> may_end("I met him. "), may_end("I met Dr."), may_end("It is 3."), may_end("I met")
        (True, False, False, False)
    """
    bare = text.rstrip().rstrip(_CLOSERS)
    before = bare.rstrip(_ENDS)[-24:]
    if bare[len(bare.rstrip(_ENDS)) :] != ".":
        return bare.endswith(tuple(_ENDS))
    return not (before[-1:].isdigit() or depends_on_next_word(before) or continues_sentence(before, ""))


class _UndecidedError(Exception):
    """More text is needed."""


class _Cut(NamedTuple):
    stop: int
    kind: Boundary


class _Signs(NamedTuple):
    """Where a cut may be, and the signs that end a sentence or clause together."""

    candidate: re.Pattern[str]
    run: re.Pattern[str]


@cache
def _signs(clause_ends: str) -> _Signs:
    ends = re.escape(_ENDS + clause_ends)
    return _Signs(
        re.compile(f"[{ends}{re.escape(_LINE_ENDS)}]"), re.compile(f"[{ends}]+[{re.escape(_CLOSERS)}]*")
    )


@dataclass(slots=True)
class SentenceSplitter:
    """Split one text, fed in pieces of any size; the sentences do not depend on the pieces.

    A sentence ends at a full stop, question or exclamation mark (of any script) that a new sentence
    follows, at a line's end unless the next line goes on in lower case, and at a blank line
    (paragraph). One that grows past `max_characters` is cut at its best inner boundary (split).
    Behind any of `clause_ends` (such as ，) a sentence is cut too, unless digits stand on both sides
    or a part would have fewer than six letters: a net that was trained on sentences mumbles those.
    A blank line means "speak now": the sentence before it comes with the feed that completes it,
    while all others wait for the next word's beginning. A single line's end has to wait too: a
    second would make it a paragraph, and "Mr." or lower case may go on in the next line.
    Memory and work per character are bounded by `max_characters`.
    """

    max_characters: int = 400
    pauses_ms: Mapping[Boundary, int] = field(default_factory=lambda: PAUSES_MS)
    clause_ends: str = ""
    _text: str = field(default="", init=False)
    _offset: int = field(default=0, init=False)
    _begin: int = field(default=0, init=False)
    _scan: int = field(default=0, init=False)

    def feed(self, text: str) -> list[Sentence]:
        self._text = self._text[self._begin :] + text
        self._offset += self._begin
        self._scan -= self._begin
        self._begin = 0
        return self._take(final=False)

    def flush(self) -> list[Sentence]:
        sentences = self._take(final=True)
        self._offset += len(self._text)
        self._text, self._begin, self._scan = "", 0, 0
        return sentences

    def finish(self) -> list[Sentence]:
        sentences = self.flush()
        if sentences:
            sentences[-1] = replace(sentences[-1], pause_ms=0)
        return sentences

    def _take(self, *, final: bool) -> list[Sentence]:
        sentences: list[Sentence] = []
        while True:
            self._begin = _skip_spaces(self._text, self._begin, len(self._text))
            self._scan = max(self._scan, self._begin)
            if self._begin == len(self._text):
                return sentences
            try:
                cut = self._next_cut(final)
            except _UndecidedError:
                return sentences
            text = self._text[self._begin : cut.stop].rstrip()
            sentences.append(Sentence(text, self._offset + self._begin, self.pauses_ms[cut.kind]))
            self._begin = self._scan = cut.stop

    def _next_cut(self, final: bool) -> _Cut:
        text, limit = self._text, self._begin + self.max_characters
        while True:
            found = _signs(self.clause_ends).candidate.search(text, self._scan, limit)
            if found is None:
                if len(text) > limit:
                    most = (
                        self.max_characters * 2 // 3 if self._ends_soon(limit, final) else self.max_characters
                    )
                    cut = best_cut(text[self._begin : self._begin + most + 1], limit=most)
                    return _Cut(self._begin + cut, "split")
                self._scan = len(text)
                if final:
                    return _Cut(len(text), "sentence")
                raise _UndecidedError
            self._scan = found.start()
            cut = self._decide(found.start(), limit, final)
            if cut is not None:
                return cut

    def _decide(self, place: int, limit: int, final: bool) -> _Cut | None:
        """Return the cut that the sign at `place` makes, or None and move on past it."""
        text = self._text
        stop = place if text[place] in _LINE_ENDS else self._end_of_run(place, limit, final)
        after = _skip_spaces(text, stop, min(len(text), stop + _LOOKAHEAD))
        gap = text[stop:after]
        lines = len(re.findall("\r\n|[\n\r\x85\u2028]", gap)) + 2 * gap.count("\u2029")
        is_blank_line = lines > 1  # stays so whatever follows
        self._need(after, final, unless=is_blank_line or after - stop >= _LOOKAHEAD)
        if _is_inside_markup(text, self._begin, place):
            self._scan = stop if stop > place else place + 1
            return None
        unspaced = any(char in _UNSPACED for char in text[place:stop])
        if is_blank_line:
            return _Cut(stop, "paragraph")
        if after >= len(text) or after - stop >= _LOOKAHEAD or stop >= limit:
            return _Cut(stop, "sentence")
        if text[place] in self.clause_ends and not any(char in _ENDS for char in text[place:stop]):
            if place > self._begin and text[place - 1].isdigit() and text[stop].isdigit():
                self._scan = stop
                return None
            if self._is_short_clause(stop, limit, final):
                self._scan = stop
                return None
            return _Cut(stop, "clause")
        if unspaced or (gap and self._starts_sentence(place, stop, after, final)):
            return _Cut(stop, "sentence")
        self._scan = max(stop, place + 1, after if lines else 0)
        return None

    def _is_short_clause(self, stop: int, limit: int, final: bool) -> bool:
        """Answer whether what stands before or behind `stop` is too short for an utterance."""
        text = self._text
        if _letters(text[self._begin : stop]) < _LEAST_CLAUSE:
            return True
        letters = 0
        for place in range(stop, min(limit, stop + _LOOKAHEAD)):
            self._need(place, final, unless=False)
            if place >= len(text) or text[place] in _ENDS or text[place] in _LINE_ENDS:
                return True
            letters += text[place].isalnum()
            if letters >= _LEAST_CLAUSE:
                break
        return False

    def _ends_soon(self, limit: int, final: bool) -> bool:
        """Answer whether the sentence goes on past `limit`, but only by a few characters."""
        rest = self._text[limit : limit + _ORPHAN]
        end = next((place for place, char in enumerate(rest) if char in _ENDS or char in _LINE_ENDS), None)
        if end is not None:
            return bool(rest[: end + 1].strip())
        self._need(limit + _ORPHAN, final, unless=False)
        return bool(rest.strip()) and len(self._text) <= limit + _ORPHAN

    def _end_of_run(self, place: int, limit: int, final: bool) -> int:
        found = _signs(self.clause_ends).run.match(self._text, place, limit)
        stop = found.end() if found else place + 1
        self._need(stop, final, unless=stop >= limit)
        return stop

    def _starts_sentence(self, place: int, stop: int, after: int, final: bool) -> bool:
        text = self._text
        first = after
        while first < len(text) and first - after < 8 and text[first] in _OPENERS:
            first += 1
        self._need(first, final, unless=first - after >= 8)
        if first >= len(text):
            return True
        if text[first].islower() or (text[first] in _ENDS and text[place] in _SPACED):
            return False
        if text[place:stop].rstrip(_CLOSERS) != "." or first != after:
            return True
        found = _NEXT_WORD.match(text, first, first + _LOOKAHEAD)
        word = found.group() if found else ""
        before = text[max(self._begin, place - 24) : place]
        if depends_on_next_word(before):
            self._need(first + len(word), final, unless=len(word) >= _LOOKAHEAD)
        return not continues_sentence(before, word)

    def _need(self, place: int, final: bool, *, unless: bool) -> None:
        if place >= len(self._text) and not final and not unless:
            raise _UndecidedError


def _letters(text: str) -> int:
    return sum(char.isalnum() for char in text)


def _skip_spaces(text: str, start: int, stop: int) -> int:
    while start < stop and text[start].isspace():
        start += 1
    return start


def _is_inside_markup(text: str, begin: int, place: int) -> bool:
    for opening, closing, reach in _MARKUP:
        start = text.rfind(opening, max(begin, place - reach), place)
        if start < 0 or text.find(closing, start, place) >= 0:
            continue
        inner = text[start + 1 : start + 2]
        if opening != "<" or inner.isalpha() or inner in "/!?":
            return True
    return False
