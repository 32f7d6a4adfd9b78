"""Watch where an attention-based decoder reads while it speaks, and notice when it loses its way.

symbol ▲            ┌── front, the furthest that was read
       │        ████┊
       │     ███    ┊   ██        back: it reads again what it has read
       │   ██       ┊ ██
       │███         ┊█            stall: frames in which the front does not move
       └──────────────────► frame
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from voxstack.core.errors import ConfigError
from voxstack.core.ports import Array

__all__ = ["ENDING", "AttentionLimits", "AttentionWatch", "Finding"]


ENDING = ("stall", "back", "repeat", "skip")
"""Findings that may end an utterance; the one other, "unread", is made when it has ended."""


@dataclass(frozen=True, kw_only=True)
class AttentionLimits:
    """What still counts as reading along; null switches a check off.

    most_stalled_ms  that the attention may go without reading a new symbol
    most_back        symbols by which it may fall behind the furthest that it has read
    most_repeats     times that it may fall behind further than that
    most_skipped     symbols that it may leap over between two frames
    most_unread      symbols at the end that it may leave out
    ends_on          findings that end the utterance; all are reported
    """

    most_stalled_ms: float | None = 1000
    most_back: int | None = 3
    most_repeats: int | None = 2
    most_skipped: int | None = 5
    most_unread: int | None = 4
    ends_on: tuple[str, ...] = ("stall", "repeat")

    def check(self, *, path: str) -> None:
        """Raise ConfigError, at `path`, if a limit makes no sense."""
        for key, least in (
            ("most_stalled_ms", 1),
            ("most_back", 0),
            ("most_repeats", 0),
            ("most_skipped", 0),
            ("most_unread", 0),
        ):
            value: float | None = getattr(self, key)
            if value is not None and value < least:
                raise ConfigError(f"got {value:g}, want {least} or more, or null", where=f"{path}.{key}")
        for place, kind in enumerate(self.ends_on):
            if kind not in ENDING:
                raise ConfigError(
                    f"got '{kind}', want one of {', '.join(ENDING)}", where=f"{path}.ends_on[{place}]"
                )


@dataclass(frozen=True, slots=True)
class Finding:
    """Where the attention lost its way: the kind of fault, at which frame, how far it had read, in words."""

    kind: str
    frame: int
    symbol: int
    text: str


class AttentionWatch:
    """Follow one utterance's attention, frame after frame.

    In:       symbols  of the utterance; frame_rate in Hz
    """

    def __init__(self, limits: AttentionLimits, *, symbols: int, frame_rate: Fraction) -> None:
        self._limits = limits
        self._symbols = symbols
        self._frame_rate = frame_rate
        self._most_stalled = (
            math.inf if limits.most_stalled_ms is None else limits.most_stalled_ms / 1000 * float(frame_rate)
        )
        self._frame = 0
        self._front = -1
        self._stalled = 0
        self._repeats = 0
        self._is_behind = False

    def follow(self, weights: Array) -> tuple[Array, list[Finding]]:
        """Return the symbol that each frame reads, and what is wrong with it.

        In:       weights  float [frames, symbols], attention of the next frames
        Out:      int64 [frames]
        """
        positions = weights.argmax(axis=1)
        found = [finding for position in positions for finding in self._step(int(position))]
        return positions, found

    def end(self) -> list[Finding]:
        """Return what is wrong if the utterance ends here."""
        left = self._symbols - 1 - self._front
        # Of a short utterance, half.
        if self._limits.most_unread is None or left <= min(self._limits.most_unread, self._symbols // 2):
            return []
        return [self._finding("unread", f"the last {left} of {self._symbols} symbols were never read")]

    def _step(self, position: int) -> Iterator[Finding]:
        yield from self._leapt(position)
        yield from self._fell_back(position)
        yield from self._stood(position)
        self._front = max(self._front, position)
        self._frame += 1

    def _leapt(self, position: int) -> Iterator[Finding]:
        over = position - self._front - 1
        if self._limits.most_skipped is not None and over > self._limits.most_skipped:
            yield self._finding("skip", f"the attention leapt over {over} symbols, to symbol {position}")

    def _fell_back(self, position: int) -> Iterator[Finding]:
        behind = self._front - position
        if behind <= 0:
            self._is_behind = False
        if self._limits.most_back is None or behind <= self._limits.most_back or self._is_behind:
            return
        self._is_behind = True
        self._repeats += 1
        yield self._finding("back", f"the attention fell {behind} symbols back, to symbol {position}")
        if self._limits.most_repeats is not None and self._repeats == self._limits.most_repeats + 1:
            yield self._finding("repeat", f"the attention fell back {self._repeats} times")

    def _stood(self, position: int) -> Iterator[Finding]:
        before, self._stalled = self._stalled, 0 if position > self._front else self._stalled + 1
        if before <= self._most_stalled < self._stalled:  # once a stall
            seconds = self._stalled / float(self._frame_rate)
            read = "all" if self._front == self._symbols - 1 else f"{self._front + 1} of {self._symbols}"
            yield self._finding(
                "stall", f"the attention read nothing new for {seconds:.1f} s, after {read} symbols"
            )

    def _finding(self, kind: str, text: str) -> Finding:
        return Finding(kind, self._frame, max(self._front, 0), text)
