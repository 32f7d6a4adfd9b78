"""Encode with libsndfile, chunk by chunk: Opus, FLAC, telephone codes, and what MP3 is made with."""

import struct
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Flac", "Opus", "Outlet", "Samples", "Sndfile", "as_16_bit"]

Samples = npt.NDArray[np.float32]

FLAC_BLOCK = 1152
"""Samples: what least compression has, the shortest there is; a first chunk fills one."""

OPUS_PAGE_MS = 50.0
PAGE_LATENCY = 0x1302
"""libsndfile's SFC_SET_OGG_PAGE_LATENCY_MS; its own second would hold back a first chunk."""

OPUS_CLOCK = 48_000
OPUS_HEAD = b"OpusHead"
OGG_PAGE = struct.Struct("<4sBBqIIIB")
"""Of a page: name, version, flags, samples up to its end, stream, place, sum, and how many sizes follow."""


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
    """What libsndfile encodes, of which each sample leaves as it comes."""

    delay_s = 0.0

    def __init__(self, rate: int, container: str, codec: str, **options: Any) -> None:
        import soundfile  # pyright: ignore[reportMissingTypeStubs]

        self.rate = rate
        self.given = 0
        self._outlet = Outlet()
        outlet: Any = self._outlet
        self.file: Any = soundfile.SoundFile(
            outlet, "w", samplerate=rate, channels=1, format=container, subtype=codec, **options
        )

    @property
    def decoded_s(self) -> float:
        return self.given / self.rate

    def write(self, samples: npt.NDArray[Any]) -> bytes:
        if samples.size:
            self.given += samples.size
            self.file.write(samples)
        return self._outlet.taken()

    def end(self) -> bytes:
        self.file.close()
        return self._outlet.taken()

    def close(self) -> None:
        self.file.close()


class Flac(Sndfile):
    """FLAC, 16 bits, in blocks; a full one leaves when something follows it."""

    def __init__(self, rate: int) -> None:
        super().__init__(rate, "FLAC", "PCM_16", compression_level=0.0)

    @property
    def decoded_s(self) -> float:
        left = self.given if self.file.closed else max(self.given - 1, 0) // FLAC_BLOCK * FLAC_BLOCK
        return left / self.rate

    def write(self, samples: Samples) -> bytes:
        return super().write(as_16_bit(samples))


class Opus(Sndfile):
    """Opus in Ogg, whose pages say how far they go, and how much of the beginning decoders leave out."""

    def __init__(self, rate: int, compression: float | None = None) -> None:
        options = {} if compression is None else {"compression_level": compression}
        super().__init__(rate, "OGG", "OPUS", **options)
        self._left_out = self._until = 0
        self._shorten_pages()

    @property
    def decoded_s(self) -> float:
        return max(self._until - self._left_out, 0) / OPUS_CLOCK

    def write(self, samples: Samples) -> bytes:
        return self._read(super().write(samples))

    def end(self) -> bytes:
        return self._read(super().end())

    def _read(self, pages: bytes) -> bytes:
        """Note what whole pages say, and return them."""
        page = 0
        while page < len(pages):
            *_, until, _, _, _, sizes = OGG_PAGE.unpack_from(pages, page)
            body = page + OGG_PAGE.size + sizes
            if pages.startswith(OPUS_HEAD, body):
                (self._left_out,) = struct.unpack_from("<H", pages, body + len(OPUS_HEAD) + 2)
            self._until = max(self._until, until)
            page = body + sum(pages[page + OGG_PAGE.size : body])
        return pages

    def _shorten_pages(self) -> None:
        """Let pages leave early; the library soundfile has no public call for it."""
        import soundfile  # pyright: ignore[reportMissingTypeStubs]

        library: Any = soundfile
        with suppress(AttributeError):
            wanted = library._ffi.new("double*", OPUS_PAGE_MS)  # noqa: SLF001
            library._snd.sf_command(self.file._file, PAGE_LATENCY, wanted, 8)  # noqa: SLF001
