"""Encode MP3 in whole frames, and know where in them a decoder finds a sample."""

import struct

from voxstack.server.sndfile import Samples, Sndfile

__all__ = ["Mp3"]

COMPRESSION = 0.63
"""64 kbit/s up to 24 kHz, 128 above. A player tells the time from it: there is no header with the length."""

DELAY = 576 + 529
"""Samples: what LAME puts in front, and what every decoder adds.

A header could tell decoders to skip them, but libmpg123 obeys it only if it has the length, too, and FFmpeg
then takes only a part of them away.
"""

HEAD_BYTES = 4
LOW_RATES = 32_000
"""Hz below which frames are half as long."""

KBITS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
LOW_KBITS = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
"""By the four bits that a frame has for it."""


class Mp3(Sndfile):
    """MP3 frames; the first one that libsndfile writes is an empty place for a length that nobody knows.

    Half a frame, which no decoder could use, waits for its other half.
    """

    def __init__(self, rate: int, compression: float = COMPRESSION) -> None:
        super().__init__(
            rate, "MP3", "MPEG_LAYER_III", bitrate_mode="CONSTANT", compression_level=compression
        )
        is_low = rate < LOW_RATES
        self.delay_s = DELAY / rate
        self._frame, self._kbits = (576, LOW_KBITS) if is_low else (1152, KBITS)
        self._frames = 0
        self._half = b""
        self._is_begun = False

    @property
    def decoded_s(self) -> float:
        return self._frames * self._frame / self.rate

    def write(self, samples: Samples) -> bytes:
        return self._cut(super().write(samples))

    def end(self) -> bytes:
        return self._cut(super().end())

    def _cut(self, data: bytes) -> bytes:
        """Return the whole frames that there are by now."""
        data, end = self._half + data, 0
        while end + HEAD_BYTES <= len(data) and (size := self._size(data, end)) <= len(data) - end:
            if self._is_begun or any(data[end + HEAD_BYTES : end + size]):
                self._frames += 1
                end += size
            else:
                data = data[:end] + data[end + size :]
            self._is_begun = True
        self._half = data[end:]
        return data[:end]

    def _size(self, data: bytes, at: int) -> int:
        """Return how many bytes the frame has that begins there."""
        (head,) = struct.unpack_from(">I", data, at)
        kbits, is_longer = self._kbits[head >> 12 & 15], head >> 9 & 1
        return self._frame // 8 * kbits * 1000 // self.rate + is_longer
