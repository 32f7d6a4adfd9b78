"""Filter samples by second-order sections whose state a stream carries from read to read.

Source:   scipy.signal.sosfilt, direct form II transposed; it computes sample by sample, so that however
          the reads are cut, the results are the same to the bit
"""

import importlib
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from voxstack.core.blocks import Stream, Timing
from voxstack.core.errors import Cancelled, ConfigError
from voxstack.core.ports import Port, Ports, Tensors
from voxstack.stages.audio.sampled import SAMPLES

__all__ = ["LEAST_HZ", "Filter", "Sections", "require_scipy"]

Sections = npt.NDArray[np.float64]
"""Rows b0 b1 b2 1 a1 a2."""

LEAST_HZ = 1.0
"""The lowest corner of a filter: below, its memory is longer than any utterance."""

INAUDIBLE = 1e-6
"""Share of a sample's influence, -120 dB, from which on it counts as forgotten."""


def require_scipy(path: str) -> Any:
    """Return scipy.signal, or raise ConfigError, at `path`."""
    try:
        return importlib.import_module("scipy.signal")
    except ImportError as error:
        raise ConfigError(
            'scipy, which filters, is not installed; pip install "voxstack[effects]"', where=path
        ) from error


def memory_of(sections: Sections) -> int:
    """Return after how many samples the slowest pole has forgotten one."""
    radius = max(float(np.abs(np.roots(row[3:])).max()) for row in sections)
    return 0 if radius == 0 else math.ceil(math.log(INAUDIBLE) / math.log(radius))


@dataclass(frozen=True)
class Filter:
    """A StreamableBlock that filters; what Equaliser and TelephoneBand share."""

    sections: Sections
    gives: Ports
    consumes: Ports | None = field(default_factory=lambda: SAMPLES)
    takes: Ports = field(default_factory=dict[str, Port])

    @property
    def timing(self) -> Timing:
        return Timing(left=memory_of(self.sections))

    def open(self, tensors: Tensors, source: Stream | None) -> Stream:
        assert source is not None
        return _FilteredStream(source, self.sections)


class _FilteredStream:
    def __init__(self, source: Stream, sections: Sections) -> None:
        self._source: Stream | None = source
        self._sections = sections
        self._state = np.zeros((len(sections), 2))
        self._sosfilt = require_scipy("").sosfilt

    def read(self, steps: int) -> Tensors:
        if self._source is None:
            raise Cancelled("read after close")
        chunk = self._source.read(steps)
        samples = chunk["samples"]
        if not samples.size:
            return chunk
        filtered, self._state = self._sosfilt(self._sections, samples.astype(np.float64), zi=self._state)
        return {"samples": filtered.astype(np.float32)}

    def close(self) -> None:
        if self._source is not None:
            self._source.close()
        self._source = None
