"""Take the characters of a text as its phonemes."""

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from voxstack.core.errors import RequestError
from voxstack.core.text import Phonemes
from voxstack.stages.phonemes.symbols import Symbol, SymbolTable

__all__ = ["CharacterPhonemizer", "Form", "Spaces"]

Form: TypeAlias = Literal["NFC", "NFD", "NFKC", "NFKD"]
Spaces: TypeAlias = Literal["kept", "trimmed", "single"]


@dataclass(frozen=True, slots=True)
class CharacterPhonemizer:
    """Give every character as a symbol, or as those that Unicode writes it with.

    lowercase  read capitals that have no ids as small letters
    form       the Unicode normalisation that says what a character is written with
    spaces     keep space as it stands; leave it out at both ends; or besides let a run of it be one symbol
    unknown    the symbol for a run of unknown characters; without one they are skipped, and a letter
               whose accent is unknown is read without

    Raises:   RequestError if none of the text's characters is known.

    Example:
        >>> table = SymbolTable({"a": (1,), "b": (2,)})
        >>> [p.ids.tolist() for p in CharacterPhonemizer(table, lowercase=True).phonemize("Á-b")]
        [[1, 2]]
    """

    table: SymbolTable
    lowercase: bool = False
    form: Form = "NFD"
    spaces: Spaces = "kept"
    unknown: str | None = None

    def phonemize(self, text: str) -> list[Phonemes]:
        symbols = self._joined(self._symbols(text))
        if self.spaces != "kept":
            symbols = _trimmed(symbols)
        heard = [
            symbol for symbol in symbols if symbol.symbol != self.unknown and not symbol.symbol.isspace()
        ]
        phonemes = self.table.encode(symbols) if heard else None
        if phonemes is None:
            known = " ".join(sorted(self.table.ids)[:40])
            got = repr(text if len(text) <= 40 else text[:40] + "…")
            raise RequestError(f"this voice knows no character of {got}; it knows: {known}", where="text")
        return [phonemes]

    def _symbols(self, text: str) -> Iterator[Symbol]:
        """Yield known symbols alone, and the one for unknown characters."""
        for place, char in enumerate(text):
            for piece in self._pieces(char):
                yield Symbol(piece, place, place + 1)

    def _pieces(self, char: str) -> list[str]:
        ids, pieces = self.table.ids, self._written(char, self.form)
        if self.unknown is not None:
            return [piece if piece in ids else self.unknown for piece in pieces]
        known = [piece for piece in pieces if piece in ids]
        return known or [piece for piece in self._written(char, "NFD") if piece in ids]

    def _written(self, char: str, form: Form) -> str:
        written = unicodedata.normalize(form, char)
        if not self.lowercase:
            return written
        return "".join(piece if piece in self.table.ids else piece.lower() for piece in written)

    def _joined(self, symbols: Iterable[Symbol]) -> list[Symbol]:
        """Make one symbol, which voices them all, of each run of those that count once."""
        found: list[Symbol] = []
        for symbol in symbols:
            is_one = symbol.symbol == self.unknown or (self.spaces == "single" and symbol.symbol.isspace())
            if is_one and found and found[-1].symbol == symbol.symbol:
                found[-1] = found[-1]._replace(stop=symbol.stop)
            else:
                found.append(symbol)
        return found


def _trimmed(symbols: list[Symbol]) -> list[Symbol]:
    """Leave out what is space at the ends."""
    voiced = [place for place, symbol in enumerate(symbols) if not symbol.symbol.isspace()]
    return symbols[voiced[0] : voiced[-1] + 1] if voiced else []
