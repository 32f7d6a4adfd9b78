"""Write the marks of what is spoken, line by line, as its chunks come."""

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

from voxstack.core.errors import OutputError, RequestError
from voxstack.engine.mark_lines import PollyLines

if TYPE_CHECKING:
    from voxstack.engine.audio import Audio

__all__ = ["MarkFile"]


class MarkFile:
    """A file of marks in Amazon Polly's format, or standard output for "-".

    Raises:   RequestError if there can be no such file; OutputError if it cannot be written to its end
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_shown = str(path) == "-"
        self._lines = PollyLines()
        try:
            self._file = sys.stdout.buffer if self._is_shown else path.open("wb")
        except OSError as error:
            raise RequestError(f"cannot be written: {error.strerror}", where=str(path)) from error

    def feed(self, text: str) -> None:
        """Learn the request's text as it comes, before it is spoken."""
        self._lines.feed(text)

    def write(self, audio: "Audio") -> None:
        """Append the marks of a chunk; whoever reads along has them at once."""
        if not audio.marks:
            return
        try:
            for mark in audio.marks:
                self._file.write(f"{self._lines.line(mark)}\n".encode("utf-8", "replace"))
            self._file.flush()
        except OSError as error:
            if self._is_shown and isinstance(error, BrokenPipeError):
                raise  # the reader has left; there is nobody to tell
            raise OutputError(f"cannot be written: {error.strerror}", where=str(self._path)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._is_shown:
            return
        # What was not written is lost, and whoever asked was told.
        with contextlib.suppress(OSError) if kind is not None else contextlib.nullcontext():
            self._file.close()
