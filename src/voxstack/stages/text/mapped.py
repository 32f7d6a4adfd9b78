"""Hold text that was edited, with the stretch of the original text behind each of its characters."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Edit", "MappedText"]


class Edit(NamedTuple):
    """Replace text[start:stop] by `text`; the whole replacement stands for the whole stretch."""

    start: int
    stop: int
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class MappedText:
    """Text whose character i stands for original[starts[i]:stops[i]].

    starts, stops   int64 [len(text)], both never falling
    end             where the original stretch stops
    """

    text: str
    starts: npt.NDArray[np.int64]
    stops: npt.NDArray[np.int64]
    end: int

    @classmethod
    def of(cls, text: str, start: int = 0) -> "MappedText":
        """Wrap text that was not edited, whose first character stands at `start`."""
        starts = np.arange(start, start + len(text), dtype=np.int64)
        return cls(text, starts, starts + 1, start + len(text))

    def edited(self, edits: Iterable[Edit]) -> "MappedText":
        """Apply edits, in order and not overlapping, whose offsets count in this text.

        Example:
            >>> mapped = MappedText.of("pay $3 now", start=100).edited([Edit(4, 6, "three dollars")])
            >>> mapped.text, mapped.origins(np.array([[4, 9], [18, 21]])).tolist()
            ('pay three dollars now', [[104, 106], [107, 110]])
        """
        texts: list[str] = []
        starts: list[npt.NDArray[np.int64]] = []
        stops: list[npt.NDArray[np.int64]] = []
        done = 0
        for start, stop, text in edits:
            first = self._start_of(start)
            last = int(self.stops[stop - 1]) if stop > start else first
            texts += (self.text[done:start], text)
            starts += (self.starts[done:start], np.full(len(text), first, dtype=np.int64))
            stops += (self.stops[done:start], np.full(len(text), last, dtype=np.int64))
            done = stop
        if not texts:
            return self
        texts.append(self.text[done:])
        starts.append(self.starts[done:])
        stops.append(self.stops[done:])
        return MappedText("".join(texts), np.concatenate(starts), np.concatenate(stops), self.end)

    def origins(self, spans: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Map spans [n, 2] of this text to spans of the original; an empty span stays empty."""
        if not len(self.text):
            return np.full_like(spans, self.end)
        edges = np.append(self.starts, self.end)
        firsts = edges[spans[:, 0]]
        lasts = self.stops[np.maximum(spans[:, 1] - 1, 0)]
        return np.stack([firsts, np.where(spans[:, 1] > spans[:, 0], lasts, firsts)], axis=1)

    def _start_of(self, place: int) -> int:
        return int(self.starts[place]) if place < len(self.text) else self.end
