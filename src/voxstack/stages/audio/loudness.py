"""Bring each utterance to a loudness while it is spoken."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from voxstack.core.blocks import Stream, Timing
from voxstack.core.errors import ConfigError
from voxstack.core.ports import Array, Port, Ports, Tensors
from voxstack.core.site import Site
from voxstack.stages.audio.biquads import Sections, require_scipy
from voxstack.stages.audio.grid import GridStream
from voxstack.stages.audio.k_weighting import k_weighting
from voxstack.stages.audio.limiter import Limiter
from voxstack.stages.audio.programme import Programme
from voxstack.stages.audio.sampled import SAMPLES, samples_above

__all__ = ["Loudness"]

STEP_S = 0.1
"""Loudness is measured anew every 100 ms, over 400 ms: BS.1770's gating blocks."""

MOST_AHEAD_MS = 3000.0


@dataclass(frozen=True)
class Loudness:
    """A gain that follows what has been said so far of the utterance, then a limiter under a ceiling.

    The loudness is that of BS.1770 over all that was heard since the utterance began, and ahead_ms
    more; so the gain settles within a second or two and does not pump. It cannot know what comes later: an
    utterance that begins softly and ends loudly ends too loud for a moment. Each utterance is measured
    anew. A fixed gain, measured once for a voice, is steadier: Limiter has one.

    In:       samples  float32 [n]
    Out:      samples  float32 [n], |samples| ≤ 10^(ceiling_db / 20)
    Timing:   1 → 1, looks ahead by ahead_ms and what the limiter needs
    Source:   ITU-R BS.1770-5, integrated loudness with both gates, in one channel
    Raises:   ConfigError if an option is out of range, or scipy is not installed; WiringError without a
              sample rate
    """

    @dataclass(frozen=True)
    class Options:
        """How loud, how soon, how far.

        target_lufs  wanted loudness, in LUFS
        most_db      the greatest gain up or down, in dB
        ahead_ms     what is heard before the gain of a sample is settled, in ms; it delays first audio
        ceiling_db   in dB below full scale
        """

        target_lufs: float = -20.0
        most_db: float = 15.0
        ahead_ms: float = 300.0
        ceiling_db: float = -1.0

    target: float
    most_db: float
    ahead: int
    block: int
    sections: Sections
    limiter: Limiter
    gives: Ports
    consumes: Ports | None = field(default_factory=lambda: SAMPLES)
    takes: Ports = field(default_factory=dict[str, Port])

    @classmethod
    def wire(cls, options: Options, site: Site) -> "Loudness":
        require_scipy(site.path)
        _within(options.target_lufs, -70.0, 0.0, "LUFS", f"{site.path}.target_lufs")
        _within(options.most_db, 0.0, 60.0, "dB", f"{site.path}.most_db")
        _within(options.ahead_ms, 0.0, MOST_AHEAD_MS, "ms", f"{site.path}.ahead_ms")
        port, rate = samples_above(site)
        limiter = Limiter.wire(Limiter.Options(ceiling_db=options.ceiling_db), site)
        return cls(
            target=options.target_lufs,
            most_db=options.most_db,
            ahead=round(options.ahead_ms / 1000 / STEP_S),
            block=max(1, round(STEP_S * float(rate))),
            sections=k_weighting(float(rate)),
            limiter=limiter,
            gives={"samples": port},
        )

    @property
    def timing(self) -> Timing:
        held = self.ahead * self.block
        own = Timing(right=held, lookahead=held + self.block)
        return own.then(self.limiter.timing)

    def open(self, tensors: Tensors, source: Stream | None) -> Stream:
        assert source is not None
        step = self.timing.steps
        held = self.ahead * self.block
        levelled = GridStream(source, _Level(self), block=self.block, steps=step, delay=held)
        return self.limiter.open(tensors, levelled)


def _within(value: float, low: float, high: float, unit: str, where: str) -> None:
    if not low <= value <= high:
        raise ConfigError(f"got {value:g} {unit}, want {low:g} to {high:g}", where=where)


class _Level:
    """One utterance's gain: a knot behind each block of 100 ms, a straight line between knots."""

    def __init__(self, loudness: Loudness) -> None:
        self._loudness = loudness
        self._programme = Programme(loudness.sections)
        self._waiting: deque[Array] = deque()
        self._gain: float | None = None

    def __call__(self, samples: Array, *, last: bool) -> Array:
        self._programme.hear(samples)
        self._waiting.append(samples)
        made: list[Array] = []
        while len(self._waiting) > (0 if last else self._loudness.ahead):
            made.append(self._levelled(self._waiting.popleft()))
        return np.concatenate(made) if made else samples[:0]

    def _levelled(self, samples: Array) -> Array:
        loudness = self._loudness
        measured = self._programme.lufs
        wanted_db = 0.0 if measured is None else loudness.target - measured
        gain = 10 ** (float(np.clip(wanted_db, -loudness.most_db, loudness.most_db)) / 20)
        before = gain if self._gain is None else self._gain
        self._gain = gain
        places = np.arange(1, len(samples) + 1) / loudness.block
        return (samples * (before + (gain - before) * places)).astype(np.float32)
