"""Tell whoever listens what a block noticed while it worked: attention that lost its way, alignments.

Blocks report; they do not know who listens, and most of the time nobody does. The listener lives in
the context in which a stream is read, as the wish to stop does (`core.cancel`). Blocks that run at the same
time (`core.together`) report each from its own thread.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeAlias

__all__ = ["ALIGNMENT", "DURATIONS", "LEFT_OUT", "REASON", "TAP", "Event", "Listener", "listening", "report"]

ALIGNMENT = "alignment"
"""Which symbol each frame speaks: values `positions` int64 [frames] from frame `step` on, and, where
there is attention, `weights` float32 [frames, symbols]."""

DURATIONS = "durations"
"""How long all symbols last, told when an utterance is opened: values `frames` int64 [symbols], step 0."""

LEFT_OUT = "left_out"
"""What an utterance lost at its start: values `steps`, and `rate`, how many of them a second has."""

TAP = "tap"
"""A copy of what flowed: values `tensors` by name; their first step is number `start` of `utterance`."""

REASON = "reason"
"""The value that says, in the system's words, why a file could not be written; it never quotes a text."""

DATA = frozenset({ALIGNMENT, DURATIONS, LEFT_OUT, TAP})
"""Kinds that are no findings; who wants them listens."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a block noticed.

    In:       kind    "attention.stall", "decoder.too_long", …; or one of those above, which are data
              where   the net that it happened in, or the block
              step    frame of the utterance at which it was noticed
              text    one line for people, empty for data
              values  numbers and arrays, for programs
    """

    kind: str
    where: str
    step: int
    text: str = ""
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def is_data(self) -> bool:
        """Whether it is data for those who listen, and nothing that people or a report should be told."""
        return self.kind in DATA


Listener: TypeAlias = Callable[[Event], None]

_listeners: ContextVar[tuple[Listener, ...]] = ContextVar("voxstack_listeners", default=())


@contextmanager
def listening(listener: Listener) -> Generator[None, None, None]:
    """Call `listener` with every event reported inside this block, beside those who listen already."""
    token = _listeners.set((*_listeners.get(), listener))
    try:
        yield
    finally:
        _listeners.reset(token)


def report(event: Event) -> None:
    """Hand an event to whoever listens."""
    for listener in _listeners.get():
        listener(event)
