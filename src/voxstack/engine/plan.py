"""Plan chunks: small at first so that speech starts at once, then growing so that overlap costs little."""

import math
from dataclasses import dataclass

__all__ = ["ChunkPlan"]


@dataclass(frozen=True, slots=True)
class ChunkPlan:
    """How much audio the next read asks for, rounded up to whole frames.

    first_ms   the first chunk of a request: what a listener waits for
    growth     a chunk is at most this many times what the listener has been given before it, so that
               it is there in time wherever a second of audio takes less than 1 / growth seconds
    most_ms    no chunk asks for more; bounds memory and the time that one net run takes
    """

    first_ms: float = 90
    growth: float = 3
    most_ms: float = 2200

    def next_samples(self, given_samples: int, *, sample_rate: int, frame_samples: int) -> int:
        """Return how many samples to read next, after `given_samples` of the request.

        Example:
            >>> given, sizes = 0, []
            >>> for _ in range(5):
            ...     size = ChunkPlan().next_samples(given, sample_rate=22050, frame_samples=256)
            ...     given += size
            ...     sizes.append(size // 256)
            >>> sizes
            [8, 24, 96, 190, 190]
        """
        given_ms = given_samples * 1000 / sample_rate
        wanted_ms = min(max(self.growth * given_ms, self.first_ms), self.most_ms)
        return math.ceil(wanted_ms * sample_rate / 1000 / frame_samples - 1e-9) * frame_samples
