"""Measure how loud a programme is so far, while it comes, in bounded memory."""

import math
from collections import deque

import numpy as np

from voxstack.core.ports import Array
from voxstack.stages.audio.biquads import Sections, require_scipy

__all__ = ["Programme"]

GATE_LUFS = -70.0
"""Blocks softer than this are silence."""

RELATIVE_LU = -10.0
"""So are blocks so much softer than the loudness of those above the first gate."""

BLOCKS = 4
"""Steps in a gating block: they overlap by three quarters."""

OFFSET = -0.691
BIN_LU = 0.1
BINS = round((10 - GATE_LUFS) / BIN_LU)


class Programme:
    """The integrated loudness of what was heard, step by step of 100 ms.

    Blocks are counted by their loudness in bins of 0.1 LU, each with its exact sum of power, so that
    hours take no more memory than seconds; the relative gate falls on the edge of a bin.
    """

    def __init__(self, sections: Sections) -> None:
        self._sections = sections
        self._state = np.zeros((len(sections), 2))
        self._sosfilt = require_scipy("").sosfilt
        self._steps: deque[tuple[float, int]] = deque(maxlen=BLOCKS)
        self._powers = np.zeros(BINS)
        self._counts = np.zeros(BINS, np.int64)

    def hear(self, samples: Array) -> None:
        """Take the next step; shorter ones only at the end."""
        if not samples.size:
            return
        weighted, self._state = self._sosfilt(self._sections, samples.astype(np.float64), zi=self._state)
        self._steps.append((float(np.square(weighted).sum()), samples.size))
        if len(self._steps) == BLOCKS:
            self._count(self._power())

    @property
    def lufs(self) -> float | None:
        """The loudness, None while all was silence. What is shorter than a block is one block."""
        if not self._counts.any():
            power = self._power() if 0 < len(self._steps) < BLOCKS else 0.0
            loudness = _lufs(power)
            return loudness if loudness > GATE_LUFS else None
        gate = _lufs(self._powers.sum() / self._counts.sum()) + RELATIVE_LU
        first = max(0, math.ceil((gate - GATE_LUFS) / BIN_LU - 1e-9))
        return _lufs(self._powers[first:].sum() / self._counts[first:].sum())

    def _power(self) -> float:
        return sum(power for power, _ in self._steps) / sum(size for _, size in self._steps)

    def _count(self, power: float) -> None:
        loudness = _lufs(power)
        if loudness <= GATE_LUFS or not math.isfinite(loudness):
            return
        place = min(int((loudness - GATE_LUFS) / BIN_LU), BINS - 1)
        self._powers[place] += power
        self._counts[place] += 1


def _lufs(power: float) -> float:
    return OFFSET + 10 * math.log10(power) if power > 0 else -math.inf
