"""State the two abstractions that carry everything, and the stream that a block opens.

A SequenceBlock takes tensors of a whole utterance and returns tensors. A StreamableBlock makes data
on demand: `open` gives one utterance's stream, and the stream's consumer says how much it wants.

    tensors ──► SequenceBlock ──► tensors ──► StreamableBlock.open ──► Stream.read(n) ──► n steps
                                                     ▲
                                    source Stream ───┘  (the block above it in a stack)

The law: however the reads are cut, the chunks joined equal one whole read.
`voxstack.testing.check_streamable` holds a block to it.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from voxstack.core.ports import Ports, Tensors

__all__ = ["SequenceBlock", "Stream", "StreamableBlock", "Timing"]

ONE = Fraction(1)
NONE = Fraction(0)


@dataclass(frozen=True, slots=True)
class Timing:
    """Say exactly how a StreamableBlock's output steps follow from its input steps.

    steps      output steps per input step
    left       input steps before its own that an output step depends on
    right      input steps after its own that an output step depends on
    lookahead  input steps after its own that the block may pull before it gives an output step;
               None: all of them (the block needs the whole utterance)
    tail       output steps that follow those of the last input step
    rounding   by how much the number of output steps may differ from input steps · steps + tail,
               where that is no whole number or depends on what is heard
    """

    steps: Fraction = ONE
    left: int = 0
    right: int = 0
    lookahead: int | None = 0
    tail: Fraction = NONE
    rounding: Fraction = NONE

    def then(self, below: "Timing") -> "Timing":
        """Return the timing of this block followed by `below`, in this block's input steps."""
        ahead = None
        if self.lookahead is not None and below.lookahead is not None:
            ahead = self.lookahead + math.ceil(below.lookahead / self.steps)
        return Timing(
            steps=self.steps * below.steps,
            left=self.left + math.ceil(below.left / self.steps),
            right=self.right + math.ceil(below.right / self.steps),
            lookahead=ahead,
            tail=self.tail * below.steps + below.tail,
            rounding=self.rounding * below.steps + below.rounding,
        )


class Stream(Protocol):
    """One utterance's data, read by one consumer. All mutable state of synthesis lives in streams."""

    def read(self, steps: int) -> Tensors:
        """Return exactly `steps` on the first axis; fewer only at the end; then none."""
        ...

    def close(self) -> None:
        """Free everything, now; safe twice."""
        ...


class SequenceBlock(Protocol):
    """A block that takes tensors of a whole utterance and returns tensors."""

    @property
    def takes(self) -> Ports: ...
    @property
    def gives(self) -> Ports: ...
    def run(self, tensors: Tensors) -> Tensors: ...


class StreamableBlock(Protocol):
    """A block that makes data on demand.

    `takes` are tensors of the whole utterance, `consumes` what it reads from the stream above it
    (None: it is a source), `gives` what its stream returns.
    """

    @property
    def takes(self) -> Ports: ...
    @property
    def gives(self) -> Ports: ...
    @property
    def consumes(self) -> Ports | None: ...
    @property
    def timing(self) -> Timing: ...
    def open(self, tensors: Tensors, source: Stream | None) -> Stream: ...
