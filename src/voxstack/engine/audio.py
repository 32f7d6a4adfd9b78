"""Hold audio, and write it to files, whole or chunk by chunk as it is made."""

import secrets
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from voxstack.core.errors import OutputError, RequestError
from voxstack.core.events import Event
from voxstack.engine.marks import Mark

__all__ = ["FORMATS", "RATES", "Audio", "AudioFile", "resampler"]

FORMATS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}
"""File suffix → libsndfile's format and subtype."""

RATES = {
    ".opus": (8000, 12000, 16000, 24000, 48000),
    ".mp3": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
}
"""Sample rates in Hz that a codec knows; other audio is resampled to the next higher one."""


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """Mono audio: `samples` float32 [n] in [-1, 1], `sample_rate` in Hz.

    `span` are the offsets, in characters, of the utterance in the request's text to which it belongs;
    `events` what blocks noticed while they made it, such as an attention that lost its way; `marks`, where
    they were asked for, what begins in it; their times count from the request's first sample.
    """

    samples: npt.NDArray[np.float32]
    sample_rate: int
    span: tuple[int, int] = (0, 0)
    events: tuple[Event, ...] = ()
    marks: tuple[Mark, ...] = ()

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.sample_rate

    def save(self, path: str | Path) -> None:
        """Write a wav, flac, ogg, opus or mp3 file, as the path's suffix says."""
        with AudioFile(path, self.sample_rate) as file:
            file.write(self)

    @staticmethod
    def joined(chunks: Iterable["Audio"], sample_rate: int) -> "Audio":
        """Return a request's chunks as one."""
        parts = list(chunks)
        samples = [np.zeros(0, np.float32), *(part.samples for part in parts)]
        events = tuple(event for part in parts for event in part.events)
        marks = tuple(mark for part in parts for mark in part.marks)
        return Audio(np.concatenate(samples), sample_rate, events=events, marks=marks)


class AudioFile:
    """A file that grows by chunks; it appears under its name only when it is complete.

    Raises:   RequestError if there can be no such file; OutputError if it cannot be written to its end
    """

    def __init__(self, path: str | Path, sample_rate: int) -> None:
        import soundfile  # pyright: ignore[reportMissingTypeStubs]

        self.path = Path(path)
        suffix = self.path.suffix.lower()
        if suffix not in FORMATS:
            raise RequestError(f"cannot write '{suffix}' files; known: {', '.join(FORMATS)}", where=str(path))
        rates = RATES.get(suffix, (sample_rate,))
        rate = min((known for known in rates if known >= sample_rate), default=max(rates))
        self._resample = resampler(sample_rate, rate)
        # Others may write the same file at the same time: each has its own until it is complete.
        self._partial = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.partial")
        # Whatever interrupts us, wherever: what is half written goes when we go.
        self._drop = weakref.finalize(self, self._partial.unlink, missing_ok=True)
        container, codec = FORMATS[suffix]
        try:
            self._partial.open("xb").close()
        except OSError as error:
            raise RequestError(f"cannot be written: {error.strerror}", where=str(path)) from error
        try:
            self._file: Any = soundfile.SoundFile(
                self._partial, "w", samplerate=rate, channels=1, format=container, subtype=codec
            )
        except Exception as error:
            self._drop()
            raise OutputError(f"cannot be written: {error}", where=str(path)) from error

    def write(self, audio: Audio) -> None:
        """Append a chunk."""
        self._append(self._resample(audio.samples, False))

    def close(self, *, keep: bool = True) -> None:
        """Finish the file and give it its name, or drop it."""
        if self._file.closed:
            return
        try:
            if keep:
                self._append(self._resample(np.zeros(0, np.float32), True))
            self._file.close()
            if keep:
                self._partial.replace(self.path)
        except (RuntimeError, OSError) as error:
            raise OutputError(f"cannot be finished: {error}", where=str(self.path)) from error
        finally:
            self._drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close(keep=kind is None)

    def _append(self, samples: npt.NDArray[np.float32]) -> None:
        try:
            if samples.size:
                self._file.write(samples)
        except RuntimeError as error:  # libsndfile's own errors derive from it, and hide the reason
            raise OutputError(
                f"cannot be written ({error}); is the disk full?", where=str(self.path)
            ) from error


def resampler(given: int, wanted: int) -> Callable[[npt.NDArray[np.float32], bool], npt.NDArray[np.float32]]:
    """Return what changes the rate of a stream, in Hz: takes samples and whether they are the last."""
    if given == wanted:
        return lambda samples, last: samples
    import soxr  # pyright: ignore[reportMissingTypeStubs]

    stream = soxr.ResampleStream(given, wanted, 1, dtype="float32")
    return lambda samples, last: stream.resample_chunk(samples, last=last)
