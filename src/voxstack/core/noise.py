"""Draw noise that depends on where it stands and on nothing else, so that chunking cannot change it.

Counter-based: the value at (seed, utterance, place, step) is a pure function of these four. Philox
gives the bits (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011; numpy's
`Philox`), Box and Muller's transform makes them normal.
"""

import math
import zlib
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Noise"]

Floats: TypeAlias = npt.NDArray[np.float32]

WORDS_PER_COUNT = 4
BELOW_ONE = np.float32(1 - 2.0**-24)


class Noise:
    """An endless tensor [steps, *shape] of noise, readable at any position.

    In:       seed, utterance  any integers; place  a name, e.g. "flow.noise"
    Example:
        >>> noise = Noise(seed=7, utterance=0, place="flow.noise", shape=(3,))
        >>> whole = noise.normal(0, 10)
        >>> bool((noise.normal(4, 6) == whole[4:]).all())
        True
    """

    def __init__(self, *, seed: int, utterance: int, place: str, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self._size = math.prod(shape)
        mask = (1 << 64) - 1
        salt = zlib.crc32(place.encode()) << 32 | (utterance & 0xFFFFFFFF)
        self._key = np.array([seed & mask, salt], dtype=np.uint64)
        # One 64-bit word makes two values; a step owns a whole number of counts, so it can be found.
        self._counts = -(-self._size // (2 * WORDS_PER_COUNT))

    def normal(self, start: int, steps: int) -> Floats:
        """Return steps `start` to `start + steps` of standard normal noise, float32 [steps, *shape]."""
        first, second = self._uniforms(start, steps)
        radius = np.sqrt(np.float32(-2.0) * np.log(first))
        angle = second * np.float32(2.0 * math.pi)
        return self._shaped(np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1))

    def uniform(self, start: int, steps: int) -> Floats:
        """Return steps `start` to `start + steps` of uniform noise in (0, 1), float32 [steps, *shape]."""
        values = np.concatenate(self._uniforms(start, steps), axis=1)
        return self._shaped(np.minimum(values, BELOW_ONE))

    def _uniforms(self, start: int, steps: int) -> tuple[Floats, Floats]:
        generator = np.random.Philox(key=self._key, counter=start * self._counts)
        width = self._counts * WORDS_PER_COUNT
        words = generator.random_raw(steps * width).astype("<u8", copy=False).reshape(steps, width)
        halves = words.view("<u4").astype(np.float32)
        # (k + ½) / 2³² is never 0, so its logarithm is finite; the last ones are rounded up to 1.
        uniforms = (halves + np.float32(0.5)) * np.float32(2.0**-32)
        # Contiguous, for numpy rounds strided values by other code, and positions must not matter.
        return np.ascontiguousarray(uniforms[:, 1::2]), np.ascontiguousarray(uniforms[:, 0::2])

    def _shaped(self, values: Floats) -> Floats:
        return np.ascontiguousarray(values[:, : self._size]).reshape(len(values), *self._shape)
