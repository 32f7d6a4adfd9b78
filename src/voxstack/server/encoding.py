"""Encode audio as a stream: what a chunk becomes leaves with that chunk."""

import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from typing import Any, Protocol

import numpy as np

from voxstack.core.errors import RequestError
from voxstack.engine.audio import RATES, resampler
from voxstack.server.mp3 import Mp3
from voxstack.server.sndfile import Flac, Opus, Outlet, Samples, as_16_bit

__all__ = ["FORMATS", "Encoder", "Format", "open_encoder", "warm_up"]

PCM_RATE = 24_000
"""Hz of raw samples: what clients of OpenAI's API play them at."""

AAC_FRAME = 1024
"""Samples; as many stand in front of the first one, since each frame overlaps with the one before."""

ENDLESS = 0xFFFFFFFF
"""In a WAV's size fields: as much as comes."""


class Encoder(Protocol):
    """One stream of audio that becomes bytes; used by one thread at a time."""

    @property
    def delay_s(self) -> float:
        """How much silence decoders find before the first sample that was given."""
        ...

    @property
    def decoded_s(self) -> float:
        """How much audio decoders make of all that was returned by now, that silence included."""
        ...

    def write(self, samples: Samples) -> bytes:
        """Return what can be sent by now, which may be nothing."""
        ...

    def end(self) -> bytes:
        """Return the rest."""
        ...

    def close(self) -> None:
        """Free what it holds, whether or not it came to its end."""
        ...


@dataclass(frozen=True)
class Format:
    """A format by its OpenAI name.

    media_type  as HTTP names it
    is_heavy    whether encoding a chunk takes milliseconds
    rates       sample rates in Hz that it knows; none: any
    """

    name: str
    media_type: str
    open: Callable[[int], Encoder]
    is_heavy: bool = True
    rates: tuple[int, ...] = ()

    def rate(self, given: int) -> int:
        """Return the rate at which audio of `given` Hz is encoded: its own, else the next higher."""
        if not self.rates or given in self.rates:
            return given
        return min((rate for rate in self.rates if rate >= given), default=max(self.rates))


def open_encoder(kind: Format, sample_rate: int) -> Encoder:
    """Return an encoder for audio of a rate in Hz.

    Raises:   RequestError if the format's library is not installed
    """
    rate = kind.rate(sample_rate)
    encoder = kind.open(rate)
    return encoder if rate == sample_rate else _Resampled(encoder, sample_rate, rate)


def warm_up() -> None:
    """Load each format's library now, where it is installed, so that no first request waits for it."""
    for kind in FORMATS.values():
        with suppress(RequestError):
            encoder = open_encoder(kind, PCM_RATE)
            encoder.write(np.zeros(PCM_RATE // 10, np.float32))
            encoder.close()


class _Resampled:
    """Audio of another rate than is encoded."""

    def __init__(self, encoder: Encoder, given: int, wanted: int) -> None:
        self._encoder = encoder
        self._resample = resampler(given, wanted)

    @property
    def delay_s(self) -> float:
        return self._encoder.delay_s

    @property
    def decoded_s(self) -> float:
        return self._encoder.decoded_s

    def write(self, samples: Samples) -> bytes:
        return self._encoder.write(self._resample(samples, False))

    def end(self) -> bytes:
        rest = self._encoder.write(self._resample(np.zeros(0, np.float32), True))
        return rest + self._encoder.end()

    def close(self) -> None:
        self._encoder.close()


class _Pcm:
    """16-bit little-endian samples, after a header if there is one."""

    delay_s = 0.0

    def __init__(self, rate: int, header: bytes = b"") -> None:
        self._rate = rate
        self._header = header
        self._given = 0

    @property
    def decoded_s(self) -> float:
        return self._given / self._rate

    def write(self, samples: Samples) -> bytes:
        header, self._header = self._header, b""
        self._given += samples.size
        return header + as_16_bit(samples).tobytes()

    def end(self) -> bytes:
        return self._header

    def close(self) -> None:
        pass


def _wav(rate: int) -> Encoder:
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16)
    head = struct.pack("<4sI4s", b"RIFF", ENDLESS, b"WAVE")
    return _Pcm(rate, head + form + struct.pack("<4sI", b"data", ENDLESS))


class _Aac:
    """AAC frames, each with its ADTS header."""

    def __init__(self, rate: int) -> None:
        try:
            self._av = import_module("av")
        except ImportError as error:
            raise RequestError(
                "aac needs the package av, which this server lacks; install voxstack[aac], "
                f"or ask for one of: {', '.join(name for name in FORMATS if name != 'aac')}",
                where="response_format",
            ) from error
        self._outlet = Outlet()
        self._container = self._av.open(self._outlet, "w", format="adts")
        self._stream = self._container.add_stream("aac", rate=rate, layout="mono")
        self._stream.bit_rate = 96_000
        self._rate = rate
        self._given = self._frames = 0

    @property
    def delay_s(self) -> float:
        return AAC_FRAME / self._rate

    @property
    def decoded_s(self) -> float:
        return self._frames * AAC_FRAME / self._rate

    def write(self, samples: Samples) -> bytes:
        if samples.size:
            frame = self._av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
            frame.sample_rate = self._rate
            frame.pts, frame.time_base = self._given, Fraction(1, self._rate)
            self._given += samples.size
            self._mux(self._stream.encode(frame))
        return self._outlet.taken()

    def end(self) -> bytes:
        if self._given:
            self._mux(self._stream.encode(None))
        self._container.close()
        return self._outlet.taken()

    def close(self) -> None:
        self._container.close()

    def _mux(self, packets: Sequence[Any]) -> None:
        self._frames += len(packets)
        self._container.mux(packets)


FORMATS = {
    kind.name: kind
    for kind in (
        Format("mp3", "audio/mpeg", Mp3, rates=RATES[".mp3"]),
        Format("opus", "audio/ogg", Opus, rates=RATES[".opus"]),
        Format(
            "aac", "audio/aac", _Aac, rates=(8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
        ),
        Format("flac", "audio/flac", Flac),
        Format("wav", "audio/wav", _wav, is_heavy=False),
        Format("pcm", "audio/pcm", _Pcm, is_heavy=False, rates=(PCM_RATE,)),
    )
}
"""By the names that OpenAI's API gives them."""
