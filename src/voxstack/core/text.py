"""Hold what the front of the flow passes on: sentences, and phoneme ids that remember their text."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["FLUSH", "FrontEnd", "Phonemes", "Sentence", "Splitter"]


class _Flush(str):
    """An empty piece, told from others by what it is."""

    __slots__ = ()


FLUSH = _Flush()
"""A piece of a text that is being written: what came before it is to be spoken now, though more may come."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A stretch of the request's text that is voiced as one utterance.

    `start` is the offset of `text[0]` in the request's text, in characters; `pause_ms` is the
    silence wanted after it.
    """

    text: str
    start: int = 0
    pause_ms: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Phonemes:
    """Phoneme ids of one utterance, each with the stretch of the request's text it voices.

    ids      int64 [T]      what the encoders read
    symbols  T strings      the phoneme (or pad, start, end sign) behind each id
    spans    int64 [T, 2]   start and stop offsets, in characters, into the request's text
    """

    ids: npt.NDArray[np.int64]
    symbols: tuple[str, ...]
    spans: npt.NDArray[np.int64]
    pause_ms: int = 0


class Splitter(Protocol):
    """Cut text that is still being written into sentences, as early as that is safe.

    `flush` gives what there is as if the text ended here, but it may go on; `finish` is the end.
    """

    def feed(self, text: str) -> Iterable[Sentence]: ...
    def flush(self) -> Iterable[Sentence]: ...
    def finish(self) -> Iterable[Sentence]: ...


class FrontEnd(Protocol):
    """Turn text into phoneme ids; immutable, shared by all utterances."""

    def splitter(self) -> Splitter: ...
    def phonemize(self, sentence: Sentence) -> list[Phonemes]: ...
