"""Say when what is said: marks of sentences, words and phonemes, each with its place in the client's text."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from voxstack.core.errors import RequestError, suggest

__all__ = ["KINDS", "WHERE_KNOWN", "Mark", "MarkKind", "Marks", "chosen_kinds"]

MarkKind: TypeAlias = Literal["sentence", "word", "phoneme"]
WhereKnown: TypeAlias = Literal["where known"]
WHERE_KNOWN: WhereKnown = "where known"
"""Beside kinds of marks: a voice that cannot tell of words and phonemes is heard without their marks."""

Marks: TypeAlias = MarkKind | Iterable[MarkKind | WhereKnown]
"""What a request may ask for: one kind or several."""

KINDS: tuple[MarkKind, ...] = get_args(MarkKind)


@dataclass(frozen=True, slots=True)
class Mark:
    """The moment at which a sentence, word or phoneme begins.

    time_s      seconds into the request's audio
    duration_s  how long it lasts; None where nobody knows when it begins
    start, end  offsets, in characters, into the text as the client sent it; a phoneme has its word's
    value       that stretch of text; of a phoneme its symbol
    """

    kind: MarkKind
    time_s: float
    duration_s: float | None
    start: int
    end: int
    value: str


def chosen_kinds(marks: Iterable[str]) -> frozenset[MarkKind | WhereKnown]:
    """Return the kinds of marks that a request asks for; raise RequestError if there is no such kind.

    Example:
        >>> sorted(chosen_kinds(["word", "sentence"])), sorted(chosen_kinds("word")), chosen_kinds(())
        (['sentence', 'word'], ['word'], frozenset())
    """
    asked = {marks} if isinstance(marks, str) else set(marks)
    for kind in sorted(asked.difference(KINDS, (WHERE_KNOWN,))):
        raise RequestError(f"no marks of {kind!r}{suggest(str(kind), KINDS)}", where="marks")
    return frozenset(kind for kind in (*KINDS, WHERE_KNOWN) if kind in asked)
