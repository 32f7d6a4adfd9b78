"""Say what a stack's picture is made of: boxes, arrows and words, each in its place, in px."""

import unicodedata
from dataclasses import dataclass, field

__all__ = ["FONT", "LINE", "Arrow", "Box", "Layout", "Words", "width_of"]

FONT = 12
ADVANCE = 7.6
LINE = 17
"""Size of letters, the width of one in a monospaced font (a little more than it is), and of a line."""


@dataclass(frozen=True)
class Words:
    """Text: where it begins, the line it stands on, and what it is ("title", "fault", "label" …)."""

    x: float
    y: float
    text: str
    kind: str = ""

    @property
    def width(self) -> float:
        return width_of(self.text)


@dataclass(frozen=True)
class Box:
    """A rectangle, and what it is: "block", "fault", "unknown", "request", "unmet", "end" or "frame"."""

    x: float
    y: float
    width: float
    height: float
    kind: str


@dataclass(frozen=True)
class Arrow:
    """A line through points, with its tip at the last."""

    points: tuple[tuple[float, float], ...]
    kind: str = ""


@dataclass
class Layout:
    """Everything that is drawn, frames first."""

    width: float = 0
    height: float = 0
    boxes: list[Box] = field(default_factory=list[Box])
    arrows: list[Arrow] = field(default_factory=list[Arrow])
    words: list[Words] = field(default_factory=list[Words])


def width_of(text: str) -> float:
    """Return how wide a line of text is at most; letters of East Asian scripts are as wide as two."""
    return ADVANCE * sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
