"""Play audio while it is made, through whatever player this machine has."""

import shutil
import subprocess
from typing import IO, Self

import numpy as np

from voxstack.core.errors import OutputError, RequestError
from voxstack.engine.audio import Audio

__all__ = ["Player"]

PLAYERS = (
    ("pw-play", ["--raw", "--rate={rate}", "--channels=1", "--format=s16", "-"]),
    ("paplay", ["--raw", "--rate={rate}", "--channels=1", "--format=s16le"]),
    ("aplay", ["-q", "-t", "raw", "-r", "{rate}", "-c", "1", "-f", "S16_LE", "-"]),
    ("play", ["-q", "-t", "raw", "-r", "{rate}", "-c", "1", "-e", "signed", "-b", "16", "-"]),
    ("ffplay", ["-loglevel", "error", "-nodisp", "-autoexit", "-f", "s16le", "-ar", "{rate}", "-i", "-"]),
)


class Player:
    """A program that plays raw 16-bit samples from its standard input; leaving waits for the last one."""

    def __init__(self, sample_rate: int) -> None:
        found = next(((name, flags) for name, flags in PLAYERS if shutil.which(name)), None)
        if found is None:
            known = ", ".join(name for name, _ in PLAYERS)
            raise RequestError(
                f"no player is installed; install one of {known}, or use --out", where="--play"
            )
        self._name, flags = found
        command = [self._name, *(flag.format(rate=sample_rate) for flag in flags)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE)

    @property
    def _pipe(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    def write(self, audio: Audio) -> None:
        """Send a chunk; a player that has ended is an OutputError."""
        samples = np.clip(audio.samples * 32767.0, -32768, 32767).astype("<i2")
        try:
            self._pipe.write(samples.tobytes())
            self._pipe.flush()
        except BrokenPipeError:
            raise OutputError(f"'{self._name}' stopped playing", where="--play") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is not None:
            self._process.kill()
        self._process.communicate()
        if kind is None and self._process.returncode != 0:
            raise OutputError(f"'{self._name}' ended with {self._process.returncode}", where="--play")
