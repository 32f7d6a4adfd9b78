"""Turn text into phonemes through espeak-ng, with the punctuation that ends each clause."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from voxstack.core.errors import RequestError
from voxstack.core.text import Phonemes
from voxstack.stages.phonemes.library import Clause, read_clauses
from voxstack.stages.phonemes.symbols import Symbol, SymbolTable
from voxstack.stages.phonemes.terminators import terminator_of
from voxstack.stages.phonemes.words import Span, align, divide, spoken_words

__all__ = ["EspeakPhonemizer"]

_RAW = re.compile(r"(\[\[.*?\]\])", re.DOTALL)
_LANGUAGE_FLAG = re.compile(r"\([^)]+\)")


@dataclass(frozen=True, slots=True)
class EspeakPhonemizer:
    """Give a text's phonemes clause by clause, each with the sign that ended it.

    Out:      an utterance for each sentence that espeak-ng sees; symbols are NFD code points
    Source:   piper-tts 1.8.0, phonemize_espeak.py and phoneme_ids.py: same ids
    Raises:   RequestError if nothing of the text can be spoken; ConfigError as `read_clauses`

    Text in [[ ]] is taken as phonemes. `spell` says which symbols write a word's IPA in another alphabet.
    """

    voice: str
    table: SymbolTable
    spell: Callable[[str], Iterable[str]] | None = None

    def phonemize(self, text: str) -> list[Phonemes]:
        utterances: list[list[Symbol]] = []
        after_raw = False
        offset = 0
        parts = _RAW.split(text)
        for place, part in enumerate(parts):
            if part.startswith("[["):
                if not utterances:
                    utterances.append([])
                utterances[-1] += self._raw(part, offset, parts[place - 1], parts[place + 1])
            else:
                read = self._utterances(text, part, offset)
                if after_raw and read:
                    utterances[-1] += read.pop(0)
                utterances += read
            after_raw = part.startswith("[[")
            offset += len(part)
        encoded = [self.table.encode(utterance) for utterance in utterances]
        spoken = [phonemes for phonemes in encoded if phonemes is not None]
        if not spoken:
            got = ascii(text if len(text) <= 40 else text[:40] + "...")
            raise RequestError(f"espeak-ng voice {self.voice!r} has no sounds for {got}", where="text")
        return spoken

    def _utterances(self, text: str, part: str, offset: int) -> list[list[Symbol]]:
        """Return the utterances of `part`, which stands at `offset` in `text`."""
        clauses = _without_lookahead(part, read_clauses([part], voice=self.voice)[0])
        utterances: list[list[Symbol]] = []
        current: list[Symbol] = []
        for place, clause in enumerate(clauses):
            last = place == len(clauses) - 1
            sign, ends_sentence = terminator_of(part[clause.start : clause.stop], last=last)
            current += self._symbols(text, clause, offset, sign)
            if ends_sentence:
                utterances.append(current)
                current = []
        return [*utterances, current] if current else utterances

    def _symbols(self, text: str, clause: Clause, offset: int, sign: str) -> Iterator[Symbol]:
        start, stop = clause.start + offset, clause.stop + offset
        words = spoken_words(text, start, stop) or [Span(start, stop)]
        pieces = _LANGUAGE_FLAG.sub("", clause.phonemes).split(" ")
        voiced = [piece for piece in pieces if piece]
        owners = iter(align(voiced, [text[word.start : word.stop] for word in words], self._sounds))
        done = words[0].start
        for place, piece in enumerate(pieces):
            span = Span(done, done)
            voices: list[Span] = []
            if piece:
                first, last = next(owners)
                voices = words[first : last + 1]
                span = Span(voices[0].start, voices[-1].stop)
            if place:
                yield Symbol(" ", min(done, span.start), span.start)
            yield from self._spelt(piece, span, voices, text)
            done = span.stop
        for symbol in unicodedata.normalize("NFD", sign):
            yield Symbol(symbol, done, max(done, start + len(text[start:stop].rstrip())))
        if sign in (",", ":", ";"):
            yield Symbol(" ", stop, stop)

    def _spelt(self, piece: str, span: Span, voices: list[Span], text: str) -> Iterator[Symbol]:
        """Yield a phoneme word's symbols, each with the word that it voices: "of the" may be one of two."""
        if self.spell is not None:
            yield from (Symbol(symbol, span.start, span.stop) for symbol in self.spell(piece))
            return
        signs = unicodedata.normalize("NFD", piece)
        owners = None
        if len(voices) > 1:
            owners = divide(signs, [text[word.start : word.stop] for word in voices], self._sounds)
        for place, sign in enumerate(signs):
            own = span if owners is None else voices[owners[place]]
            yield Symbol(sign, own.start, own.stop)

    def _raw(self, block: str, offset: int, before: str, after: str) -> Iterator[Symbol]:
        start, stop = offset, offset + len(block)
        signs = block[2:-2].strip()
        if before.endswith(" "):
            yield Symbol(" ", start, start)
        for symbol in signs if self.spell is None else chain(*map(self.spell, signs.split())):
            yield Symbol(symbol, start, stop)
        if after.startswith(" "):
            yield Symbol(" ", stop, stop)

    def _sounds(self, words: list[str]) -> list[str]:
        alone = read_clauses(words, voice=self.voice)
        return [_LANGUAGE_FLAG.sub("", " ".join(clause.phonemes for clause in clauses)) for clauses in alone]


def _without_lookahead(text: str, clauses: list[Clause]) -> list[Clause]:
    """Give the letter that espeak-ng read ahead back to the clause that it begins."""
    found: list[Clause] = []
    start = 0
    for place, clause in enumerate(clauses):
        stop = clause.stop
        if place < len(clauses) - 1 and stop > start and text[stop - 1].isalnum():
            stop -= 1
        found.append(Clause(start, stop, clause.phonemes))
        start = stop
    return found
