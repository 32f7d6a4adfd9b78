"""Hand samples to what has a state of its own in blocks of one size, however the reads are cut.

    source     ┊▓▓▓▓▓▓▓▓┊▓▓▓▓▓▓▓▓┊▓▓▓▓▓▓▓▓┊▓▓▓·      blocks begin where the utterance begins
    process    ┊        ┊▓▓▓▓▓   ┊▓▓▓▓▓▓▓▓┊▓▓▓▓▓▓    gives more or less than a block each time
    read(n)    ▓▓▓│▓▓▓▓▓▓▓│▓▓│▓▓▓▓▓▓▓▓                what is left over waits for the next read

A process sees the same blocks in the same order whatever its consumer reads, so it gives the same.
"""

import math
from fractions import Fraction
from typing import Protocol

import numpy as np
import numpy.typing as npt

from voxstack.core.blocks import Stream
from voxstack.core.errors import Cancelled
from voxstack.core.ports import Tensors

__all__ = ["GridStream", "Process", "Samples", "delay_of"]

Samples = npt.NDArray[np.float32]


class Process(Protocol):
    """Take the next block, give what can be told by now; one utterance's, so it may have a state.

    Every block is full but the last, which is shorter and may be empty; after it, all has been given.
    """

    def __call__(self, samples: Samples, *, last: bool) -> Samples: ...


def delay_of(process: Process, *, block: int, steps: Fraction, trial: int) -> int:
    """Return the most input steps that `process`, fresh, holds back, as `trial` steps of silence tell."""
    given = most = 0
    for pulled in range(block, max(trial, block) + 1, block):
        given += process(np.zeros(block, np.float32), last=False).size
        most = max(most, pulled - math.floor(given / steps))
    return most


class GridStream:
    """A stream of what a process makes of its source, block by block.

    In:       steps  output steps per input step
              delay  the most input steps that the process holds back
    Timing:   looks ahead by delay + block
    """

    def __init__(self, source: Stream, process: Process, *, block: int, steps: Fraction, delay: int) -> None:
        self._source: Stream | None = source
        self._process: Process | None = process
        self._block = block
        self._steps = steps
        self._delay = delay
        self._pulled = 0
        self._given = 0
        self._ready = np.zeros(0, np.float32)
        self._is_over = False

    def read(self, steps: int) -> Tensors:
        if self._source is None or self._process is None:
            raise Cancelled("read after close")
        parts, have = [self._ready], self._ready.size
        while have < steps and not self._is_over:
            until = math.ceil((self._given + steps - have) / self._steps) + self._delay
            made = self._run(self._source, self._process, until)
            parts += made
            have += sum(part.size for part in made)
        joined = np.concatenate(parts)
        self._ready = joined[steps:].copy()
        return {"samples": joined[:steps]}

    def close(self) -> None:
        if self._source is not None:
            self._source.close()
        self._source = self._process = None
        self._ready = np.zeros(0, np.float32)

    def _run(self, source: Stream, process: Process, until: int) -> list[Samples]:
        """Process the blocks up to input step `until`, at least one, in one read of the source."""
        blocks = max(1, -(-(until - self._pulled) // self._block))
        chunk = source.read(blocks * self._block)["samples"]
        made: list[Samples] = []
        for start in range(0, min(blocks * self._block, chunk.size + self._block), self._block):
            part = chunk[start : start + self._block]
            self._is_over = part.size < self._block
            made.append(process(part, last=self._is_over))
            self._pulled += part.size
            self._given += made[-1].size
            if self._is_over:
                break
        return made
