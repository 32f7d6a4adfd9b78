"""Write tensors to files step by step, each file right for what it holds whenever it is closed."""

from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from voxstack.core.ports import Array, Port

__all__ = ["GrowingFile", "NpyFile", "WavFile", "endings", "is_audio"]


BLOCK_BYTES = 4096


class GrowingFile(Protocol):
    """A file that grows by tensors along their first axis.

    Raises:   OSError or RuntimeError if it cannot be written
    """

    def append(self, tensor: Array) -> None: ...
    def close(self) -> None: ...


class NpyFile:
    """A .npy file; its header has room for a number of steps that is known when it is closed."""

    def __init__(self, path: Path, like: Array) -> None:
        self._shape = like.shape[1:]
        self._dtype = like.dtype
        self._steps = 0
        self._file = path.open("r+b", buffering=0)
        try:
            self._write_header()
        except OSError:
            self._file.close()
            raise

    def append(self, tensor: Array) -> None:
        data = memoryview(tensor.tobytes())
        while data:
            data = data[self._file.write(data) :]
        self._steps += len(tensor)

    def close(self) -> None:
        if self._file.closed:
            return
        with self._file:
            self._write_header()

    def _write_header(self) -> None:
        described = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self._steps, *self._shape),
        }
        self._file.seek(0)
        np.lib.format.write_array_header_1_0(self._file, described)


class WavFile:
    """A .wav file of floats: what flowed, to the bit, and above full scale too."""

    def __init__(self, path: Path, rate: int) -> None:
        import soundfile  # pyright: ignore[reportMissingTypeStubs]

        path.write_bytes(
            bytes(BLOCK_BYTES)
        )  # if there is no room, the system says so better than the library
        self._file: Any = soundfile.SoundFile(
            path, "w", samplerate=rate, channels=1, format="WAV", subtype="FLOAT"
        )

    def append(self, tensor: Array) -> None:
        try:
            self._file.write(tensor)
        except (AssertionError, RuntimeError) as error:  # less was written than was asked for, or nothing
            raise OSError("not all of it could be written; is the disk full?") from error

    def close(self) -> None:
        self._file.close()


def is_audio(port: Port) -> bool:
    """Say whether what flows through a port can be heard."""
    return (
        port.axes == ("samples",)
        and port.dtype == "float32"
        and port.rate is not None
        and port.rate.denominator == 1
    )


def endings(ports: Iterable[Port]) -> list[str]:
    """Return how the names of ports' files end, each otherwise.

    An output of a net may have signs in its name that no file may.

    Example:
        >>> endings([Port("a/b", "float32", ("frames",)), Port("a_b", "float32", ("frames",))])
        ['.a_b.npy', '.a_b-2.npy']
    """
    found: list[str] = []
    for port in ports:
        name = "".join(sign if sign.isalnum() or sign in "-_" else "_" for sign in port.name)
        kind = "wav" if is_audio(port) else "npy"
        numbered = (f".{name}{'' if number == 1 else f'-{number}'}.{kind}" for number in count(1))
        found.append(next(ending for ending in numbered if ending not in found))
    return found
