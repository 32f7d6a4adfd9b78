"""Encode with libsndfile, chunk by chunk: MP3, Opus, FLAC and telephone codes."""

from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Mp3", "Outlet", "Samples", "Sndfile", "as_16_bit"]

Samples = npt.NDArray[np.float32]

OPUS_PAGE_MS = 50.0
PAGE_LATENCY = 0x1302
"""libsndfile's SFC_SET_OGG_PAGE_LATENCY_MS; its own second would hold back a first chunk."""

COMPRESSION = 0.63
"""64 kbit/s up to 24 kHz, 128 above. A player tells the time from it: there is no header with the length."""

MP3_HEAD_BYTES = 4


def as_16_bit(samples: Samples) -> npt.NDArray[np.int16]:
    """Return what the lossless formats hold, all the same."""
    return np.rint(np.clip(samples, -1, 1) * np.float32(32767)).astype("<i2")


class Outlet:
    """A file to which a library writes; what it goes back to mend has left already."""

    def __init__(self) -> None:
        self._new = bytearray()
        self._size = self._place = 0

    def write(self, data: Any) -> int:
        given = bytes(data)
        if self._place == self._size:
            self._new += given
            self._size += len(given)
        self._place += len(given)
        return len(given)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._place = (0, self._place, self._size)[whence] + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def read(self, size: int = -1) -> bytes:
        return b""

    def taken(self) -> bytes:
        """Return what is new."""
        new = bytes(self._new)
        self._new.clear()
        return new


class Sndfile:
    """What libsndfile encodes."""

    def __init__(self, rate: int, container: str, codec: str, **options: Any) -> None:
        import soundfile  # pyright: ignore[reportMissingTypeStubs]

        self._outlet = Outlet()
        outlet: Any = self._outlet
        self._file: Any = soundfile.SoundFile(
            outlet, "w", samplerate=rate, channels=1, format=container, subtype=codec, **options
        )
        self._is_lossless = codec == "PCM_16"
        if codec == "OPUS":
            _shorten_pages(soundfile, self._file)

    def write(self, samples: Samples) -> bytes:
        if samples.size:
            self._file.write(as_16_bit(samples) if self._is_lossless else samples)
        return self._outlet.taken()

    def end(self) -> bytes:
        self._file.close()
        return self._outlet.taken()

    def close(self) -> None:
        self._file.close()


def _shorten_pages(soundfile: Any, file: Any) -> None:
    """Let pages of an Ogg stream leave early; the library soundfile has no public call for it."""
    with suppress(AttributeError):
        wanted = soundfile._ffi.new("double*", OPUS_PAGE_MS)  # noqa: SLF001
        soundfile._snd.sf_command(file._file, PAGE_LATENCY, wanted, 8)  # noqa: SLF001


class Mp3(Sndfile):
    """MP3 frames; the first one that libsndfile writes is an empty place for a length that nobody knows."""

    def __init__(self, rate: int, compression: float = COMPRESSION) -> None:
        super().__init__(
            rate, "MP3", "MPEG_LAYER_III", bitrate_mode="CONSTANT", compression_level=compression
        )
        self._is_begun = False

    def write(self, samples: Samples) -> bytes:
        data = super().write(samples)
        if self._is_begun or not data:
            return data
        self._is_begun = True
        begin = len(data) - len(data[MP3_HEAD_BYTES:].lstrip(b"\0"))
        return data[begin:] if data[begin:].startswith(data[:2]) else data
