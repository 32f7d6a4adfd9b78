"""Write a text file that appears under its name only when it is complete."""

import contextlib
import secrets
import weakref
from pathlib import Path
from typing import Self

from voxstack.core.errors import OutputError, RequestError

__all__ = ["TextFile"]


class TextFile:
    """A file that replaces the one of its name when it is complete; a failure leaves the old one.

    In:       errors  what becomes of characters that UTF-8 cannot hold, as for `str.encode`
    Raises:   RequestError if there can be no such file; OutputError if it cannot be written to its end
    """

    def __init__(self, path: Path, *, errors: str = "replace") -> None:
        self.path = path
        self._errors = errors
        # Others may write the same file at the same time: each has its own until it is complete.
        self._partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
        # Whatever interrupts us, wherever: what is half written goes when we go.
        self._drop = weakref.finalize(self, _unlink, self._partial)
        try:
            self._partial.open("xb").close()
        except OSError as error:
            raise RequestError(f"cannot be written: {error.strerror}", where=str(path)) from error

    def write(self, text: str) -> None:
        """Make this the whole text, and give the file its name."""
        try:
            self._partial.write_bytes(text.encode("utf-8", self._errors))
            self._partial.replace(self.path)
        except OSError as error:
            raise OutputError(f"cannot be written: {error.strerror}", where=str(self.path)) from error
        finally:
            self._drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._drop()


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
