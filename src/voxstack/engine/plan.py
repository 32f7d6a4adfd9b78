"""Plan chunks: small at first so that speech starts at once, then growing so that overlap costs little."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

__all__ = ["ChunkPlan"]


@dataclass(frozen=True, slots=True)
class ChunkPlan:
    """How much audio each read of an utterance asks for, in ms; rounded up to whole frames.

    first_ms   the first chunk of a request: what a listener waits for
    next_ms    the first chunk of a later utterance: the listener still has audio to hear
    growth     every chunk asks for this many times the one before
    most_ms    no chunk asks for more; bounds memory and the time that one net run takes
    """

    first_ms: float = 90
    next_ms: float = 360
    growth: float = 2
    most_ms: float = 2200

    def sizes(self, sample_rate: int, *, frame_samples: int, is_first: bool) -> Iterator[int]:
        """Yield sample counts, without end.

        Example:
            >>> sizes = ChunkPlan().sizes(22050, frame_samples=256, is_first=True)
            >>> [next(sizes) // 256 for _ in range(7)]
            [8, 16, 32, 63, 125, 190, 190]
        """
        ms = Fraction(self.first_ms if is_first else self.next_ms)
        while True:
            ms = min(ms, Fraction(self.most_ms))
            yield -(-ms * sample_rate // (1000 * frame_samples)) * frame_samples
            ms *= Fraction(self.growth)
