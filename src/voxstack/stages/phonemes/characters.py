"""Take the characters of a text as its phonemes."""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from voxstack.core.errors import RequestError
from voxstack.core.text import Phonemes
from voxstack.stages.phonemes.symbols import Symbol, SymbolTable

__all__ = ["CharacterPhonemizer"]


@dataclass(frozen=True, slots=True)
class CharacterPhonemizer:
    """Give every character, decomposed (NFD), as a symbol; unknown ones are skipped.

    Raises:   RequestError if none of the text's characters is known.

    Example:
        >>> table = SymbolTable({"a": (1,), "b": (2,)})
        >>> [p.ids.tolist() for p in CharacterPhonemizer(table, lowercase=True).phonemize("A-b")]
        [[1, 2]]
    """

    table: SymbolTable
    lowercase: bool = False

    def phonemize(self, text: str) -> list[Phonemes]:
        phonemes = self.table.encode(self._symbols(text))
        if phonemes is None:
            known = " ".join(sorted(self.table.ids)[:40])
            got = repr(text if len(text) <= 40 else text[:40] + "…")
            raise RequestError(f"this voice knows no character of {got}; it knows: {known}", where="text")
        return [phonemes]

    def _symbols(self, text: str) -> Iterator[Symbol]:
        for place, char in enumerate(text):
            cased = char.lower() if self.lowercase else char
            pieces = [piece for piece in unicodedata.normalize("NFD", cased) if piece in self.table.ids]
            for piece in pieces or [cased]:
                yield Symbol(piece, place, place + 1)
