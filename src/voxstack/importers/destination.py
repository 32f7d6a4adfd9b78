"""Put a new addon in its folder: whole or not at all, and never over what an import did not write."""

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from voxstack.core.errors import ImporterError
from voxstack.engine.swapping import swap
from voxstack.stack.files import MANIFEST

__all__ = ["check_destination", "new_addon"]


def check_destination(out: Path, *, name: str, origin: Mapping[str, Any]) -> None:
    """Refuse, before the work begins, a folder that `new_addon` would refuse after it.

    Raises:   ImporterError as `new_addon`
    """
    try:
        _check_replaceable(out, name=name, origin=origin)
        above = _standing(out.resolve().parent, where=out)
        if not os.access(above, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise ImporterError(f"cannot be written: {error.strerror or error}", where=str(out)) from error


@contextlib.contextmanager
def new_addon(out: Path, *, name: str, origin: Mapping[str, Any]) -> Iterator[Path]:
    """Give an empty folder beside `out`; rename it to `out` when the block ends, remove it when it fails.

    In:       name    what the addon will be called
              origin  its `origin` entry: an addon of the same family and model_type is replaced if it
                      has this name or came from the same sha256
    Raises:   ImporterError if `out` holds something else, or cannot be written
    """
    place = out.resolve()
    made: list[Path] = []
    done = False
    try:
        _check_replaceable(out, name=name, origin=origin)
        _make_parents(place.parent, made, where=out)
        with tempfile.TemporaryDirectory(
            dir=place.parent, prefix=f".{place.name}.", ignore_cleanup_errors=True
        ) as temporary:
            folder = Path(temporary) / "new"  # not the temporary itself, which only its owner may read
            folder.mkdir()
            yield folder
            _check_replaceable(out, name=name, origin=origin)  # the work took a while
            swap(folder, place, Path(temporary) / "old")
        done = True
    except OSError as error:
        raise ImporterError(f"cannot be written: {error.strerror or error}", where=str(out)) from error
    finally:
        for parent in [] if done else reversed(made):
            with contextlib.suppress(OSError):
                parent.rmdir()


def _make_parents(parent: Path, made: list[Path], *, where: Path) -> None:
    """Make the folders above the addon's, and list those that were missing."""
    above = [parent, *parent.parents]
    for path in reversed(above[: above.index(_standing(parent, where=where))]):
        path.mkdir(exist_ok=True)
        made.append(path)


def _standing(parent: Path, *, where: Path) -> Path:
    """Return the nearest folder above the addon's that there is."""
    there = next(path for path in (parent, *parent.parents) if os.path.lexists(path))
    if not there.is_dir():
        raise ImporterError(f"{there} is a file; want a folder above the new addon", where=str(where))
    return there


def _check_replaceable(out: Path, *, name: str, origin: Mapping[str, Any]) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise ImporterError("is a file; want a folder for the new addon", where=str(out))
    if not any(out.iterdir()):
        return
    foreign = _foreign(out, name=name, origin=origin)
    if foreign is not None:
        raise ImporterError(
            f"holds {foreign}, which this import did not write; name a new folder or remove it",
            where=str(out),
        )


def _foreign(out: Path, *, name: str, origin: Mapping[str, Any]) -> str | None:
    """Return what in a folder is not an earlier import of the same voice; None if all of it is."""
    manifest: Any = None
    if os.path.lexists(out / MANIFEST):
        try:
            manifest = json.loads((out / MANIFEST).read_bytes())
        except (ValueError, IsADirectoryError):
            return f"an unreadable {MANIFEST}"
    listed: Any = manifest.get("files") if isinstance(manifest, dict) else None
    known = {MANIFEST, *listed} if isinstance(listed, dict) else {MANIFEST}
    for path in sorted(out.rglob("*")):
        entry = path.relative_to(out).as_posix()
        if entry not in known and (path.is_symlink() or not path.is_dir()):
            return f"'{entry}'"
    if manifest is None:
        return "folders"
    theirs = manifest.get("origin") if isinstance(manifest, dict) else None
    theirs = theirs if isinstance(theirs, dict) else {}
    title = manifest.get("name") if isinstance(manifest, dict) else None
    kinds = [(found.get("family"), found.get("model_type")) for found in (theirs, origin)]
    is_same = title == name or theirs.get("sha256") == origin["sha256"]
    if kinds[0] != kinds[1] or not is_same:
        kind = " ".join(str(part) for part in kinds[0] if part)
        return f"the addon '{title}' ({kind or 'of no known origin'})"
    return None
