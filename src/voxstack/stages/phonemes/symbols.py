"""Turn phoneme symbols with their spans into the ids that an addon's encoders read."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from voxstack.core.text import Phonemes

__all__ = ["Symbol", "SymbolTable"]


class Symbol(NamedTuple):
    """A phoneme and the stretch of text that it voices."""

    symbol: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class SymbolTable:
    """Map symbols to ids; put `start` first, `spacer` behind every symbol, and `end` last, where set.

    A symbol that is not in `ids` is skipped. A spacer voices what its symbol voices; start and end
    voice nothing and stand at the edges.
    """

    ids: Mapping[str, tuple[int, ...]]
    spacer: str | None = None
    start: str | None = None
    end: str | None = None

    def encode(self, symbols: Iterable[Symbol]) -> Phonemes | None:
        """Return the ids of one utterance, or None if no symbol is known."""
        known = [symbol for symbol in symbols if symbol.symbol in self.ids]
        if not any(not symbol.symbol.isspace() for symbol in known):
            return None
        first, last = known[0].start, known[-1].stop
        framed: list[Symbol] = []
        if self.start is not None:
            framed += self._spaced(Symbol(self.start, first, first))
        for symbol in known:
            framed += self._spaced(symbol)
        if self.end is not None:
            framed.append(Symbol(self.end, last, last))
        ids = [(number, symbol) for symbol in framed for number in self.ids[symbol.symbol]]
        return Phonemes(
            np.array([number for number, _ in ids], dtype=np.int64),
            tuple(symbol.symbol for _, symbol in ids),
            np.array([(symbol.start, symbol.stop) for _, symbol in ids], dtype=np.int64),
        )

    def _spaced(self, symbol: Symbol) -> tuple[Symbol, ...]:
        if self.spacer is None:
            return (symbol,)
        return (symbol, Symbol(self.spacer, symbol.start, symbol.stop))
