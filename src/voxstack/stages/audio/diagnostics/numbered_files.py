"""Name the files that diagnostics write: numbered, never one over another, no more than so many."""

import errno
import os
import re
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from voxstack.core.errors import ConfigError

__all__ = ["NumberedFiles"]

BASE = "VOXSTACK_FILES"
"""The environment variable that names the folder below which addons may write; unset: the working directory.

An addon may come from a stranger, and where it writes is its own JSON's choice.
"""

MOST_FILES = 10_000

FULL = (errno.ENOSPC, errno.EDQUOT)
LEFT_S = 3600.0
"""Age of half-written files that nobody is writing any more: who did was killed."""

NAME = re.compile(r"[\w-][\w .-]*")


@dataclass(frozen=True)
class NumberedFiles:
    """Files of one name in a folder: NAME-UTTERANCE.ENDING, NAME-UTTERANCE-2.ENDING the next time, and so on.

    In:       most  of them that may be there; what is full stays as it is
    """

    folder: Path
    name: str
    most: int

    @classmethod
    def within(cls, folder: str, name: str, most: int, *, path: str) -> "NumberedFiles":
        """Make the folder if it is missing; raise ConfigError, at `path`, if no file may be made there."""
        if not NAME.fullmatch(name):
            raise ConfigError(
                f"got '{name}', want letters, digits, spaces and .-_ only: it is a part of file names",
                where=f"{path}.name",
            )
        if not 1 <= most <= MOST_FILES:
            raise ConfigError(f"got {most}, want 1 to {MOST_FILES}", where=f"{path}.most_files")
        base = Path(os.environ.get(BASE) or ".").resolve()
        made = (base / folder).resolve()
        if not made.is_relative_to(base):
            raise ConfigError(
                f"got '{folder}', want a folder below '{base}', where addons may write; "
                f"set {BASE} to another",
                where=f"{path}.path",
            )
        trial = made / f".{name}.{secrets.token_hex(4)}.trial"
        try:
            made.mkdir(parents=True, exist_ok=True)
            _sweep(made, name)
            trial.touch(exist_ok=False)
            trial.unlink()
        except OSError as error:
            if error.errno in FULL and made.is_dir():  # there may be room later; speech does not wait for it
                return cls(made, name, most)
            raise ConfigError(
                f"no file can be made in '{folder}': {error.strerror}; name a folder that can be written to",
                where=f"{path}.path",
            ) from error
        return cls(made, name, most)

    def claim(self, utterance: int, endings: Sequence[str]) -> list[Path]:
        """Return empty new files, one for each ending, alike but for it; none if there are too many.

        Raises:   OSError
        """
        there = self._there()
        if len(there) + len(endings) > self.most:
            return []
        stem = f"{self.name}-{utterance:04d}"
        taken = sum(bool(re.match(rf"{re.escape(stem)}\b", name)) for name in there) // len(endings)
        for take in count(taken + 1):
            numbered = stem if take == 1 else f"{stem}-{take}"
            files = [self.folder / f"{numbered}{ending}" for ending in endings]
            if self._make(files):
                return files
        raise AssertionError("numbers do not end")

    def write(self, utterance: int, ending: str, data: bytes) -> Path | None:
        """Write a file whole or not at all; return None if there are too many.

        Raises:   OSError
        """
        partial = self.folder / f".{self.name}.{secrets.token_hex(4)}.partial"
        try:
            partial.write_bytes(data)
            claimed = self.claim(utterance, [ending])
            return partial.replace(claimed[0]) if claimed else None
        finally:
            partial.unlink(missing_ok=True)

    def is_full(self) -> bool:
        """Say whether there may be no more files.

        Raises:   OSError
        """
        return len(self._there()) >= self.most

    def _there(self) -> list[str]:
        ours = re.compile(rf"{re.escape(self.name)}-\d{{4,}}\b")
        return [path.name for path in self.folder.iterdir() if ours.match(path.name)]

    def _make(self, files: Sequence[Path]) -> bool:
        """Make all files, or none if one of them is there."""
        made: list[Path] = []
        try:
            for file in files:
                file.touch(exist_ok=False)
                made.append(file)
        except OSError as error:
            for file in made:
                file.unlink()
            if isinstance(error, FileExistsError):
                return False
            raise
        return True


def _sweep(folder: Path, name: str) -> None:
    """Take away what was left half written by a process that was killed."""
    for path in folder.glob(f".{name}.*"):
        with suppress(FileNotFoundError):  # a voice that loads at the same time took its own away
            if path.suffix in (".partial", ".trial") and time.time() - path.stat().st_mtime > LEFT_S:
                path.unlink()
