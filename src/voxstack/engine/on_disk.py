"""Tell whether addons on disk are still what was loaded, without reading their nets."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from voxstack.core.errors import VoxstackError
from voxstack.engine.library import candidates
from voxstack.stack.files import MANIFEST, open_files

__all__ = ["OnDisk", "look"]

OnDisk: TypeAlias = dict[str, tuple[tuple[str, str], ...]]
"""By an addon's name: each path where there is one, and a print of what is there."""


def look(folders: Sequence[str | Path]) -> OnDisk:
    """Return what is installed now, those of one name in the order in which they are tried.

    A print holds addon.json, which has the hash of each file, and of each file its name, size, time and
    who may read it.
    """
    found = candidates(folders)
    return {name: tuple((str(path), _print(path)) for path in paths) for name, paths in found.items()}


def _print(path: Path) -> str:
    seen = hashlib.sha256()
    try:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            stat = file.lstat()
            seen.update(
                f"{file.relative_to(path)}\0{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_mode}\0".encode()
            )
        seen.update(open_files(path).read(MANIFEST))
    except (OSError, VoxstackError) as error:  # it is just being written, or broken: not what it was
        seen.update(type(error).__name__.encode())
    return seen.hexdigest()
