"""Read an addon's files from a folder or a zip, and trust none of them.

Everything that an addon holds may come from a stranger: names that climb out of the folder, links,
bombs, pickles, nets that point elsewhere. Each is refused here, with its reason, before it is used.
"""

import hashlib
import os
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Protocol

from voxstack.core.errors import AddonError
from voxstack.stack.onnx_scan import scan_net

__all__ = [
    "MANIFEST",
    "SUFFIX",
    "Files",
    "check_listing",
    "checked_name",
    "open_files",
    "read_checked",
    "sha256_of",
]

MANIFEST = "addon.json"
SUFFIX = ".voxaddon"

MAX_FILES = 1_000
MAX_FILE_BYTES = 4 << 30
MAX_TOTAL_BYTES = 8 << 30
MAX_RATIO = 200
RATIO_FREE_BYTES = 16 << 20
"""Files this small in all may be packed as tightly as they like."""

CODE_SUFFIXES = frozenset(
    {".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".npz"}
    | {".py", ".pyc", ".so", ".dll", ".dylib", ".pyd", ".sh", ".exe", ".jar"}
)
CODE_STARTS = (
    b"\x80\x02",
    b"\x80\x03",
    b"\x80\x04",
    b"\x80\x05",
    b"\x7fELF",
    b"MZ\x90",
    b"\xfe\xed\xfa",
    b"\xcf\xfa\xed",
)


class Files(Protocol):
    """The files of one addon, by their names in it."""

    where: str

    def has(self, name: str) -> bool: ...
    def names(self) -> list[str]: ...
    def size(self, name: str) -> int: ...
    def read(self, name: str) -> bytes: ...


def open_files(path: Path) -> Files:
    """Open an addon's folder or `.voxaddon` zip; raise AddonError if it is neither, or not safe."""
    if path.is_dir():
        return _Folder(path)
    if path.is_file():
        return _Zip(path)
    if path.is_symlink():
        raise AddonError(f"it is a link to '{path.readlink()}', which is not there", where=str(path))
    raise AddonError("there is no such folder or file", where=str(path))


def checked_name(name: str, *, where: str) -> str:
    """Return `name` if it is a plain relative path that stays inside the addon; raise AddonError."""
    pure = PurePosixPath(name)
    if not pure.parts or "\\" in name or "\0" in name or ":" in name:
        raise AddonError(f"file name {name!r} is not a plain relative path", where=where)
    if pure.is_absolute():
        raise AddonError(f"file name {name!r} is absolute; names are relative to the addon", where=where)
    if ".." in pure.parts:
        raise AddonError(f"file name {name!r} climbs out of the addon", where=where)
    if pure.as_posix() != name:
        raise AddonError(f"file name {name!r} is not written plainly; want {pure.as_posix()!r}", where=where)
    return name


def sha256_of(data: bytes) -> str:
    """Return a hash as addon.json writes it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def check_listing(files: Files, listed: Mapping[str, str]) -> None:
    """Check that the addon holds exactly the files listed; raise AddonError."""
    for name in listed:
        checked_name(name, where=files.where)
    present = set(files.names()) - {MANIFEST}
    for name in sorted(set(listed) - present):
        raise AddonError(f"file '{name}' is listed but missing", where=files.where)
    for name in sorted(present - set(listed)):
        raise AddonError(
            f"file '{name}' is not listed under 'files', so nothing vouches for it; "
            "take it away or seal the addon again",
            where=files.where,
        )


def read_checked(files: Files, name: str, listed: Mapping[str, str]) -> bytes:
    """Return a listed file's bytes, once they have the listed hash and cannot run code; raise AddonError."""
    data = files.read(name)
    got, wanted = sha256_of(data), listed[name]
    if got != wanted:
        raise AddonError(
            f"file '{name}' has {got[:23]}…, but {wanted[:23]}… is listed; it was changed or damaged",
            where=files.where,
        )
    _no_code(name, data, where=files.where)
    if name.endswith(".onnx"):
        scan_net(data, name=name, where=files.where)
    return data


def _no_code(name: str, data: bytes, *, where: str) -> None:
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in CODE_SUFFIXES or data.startswith(CODE_STARTS) or _holds_objects(data):
        raise AddonError(
            f"file '{name}' can run code when it is read (a pickle, a library, a script), "
            "so it never is; remove it",
            where=where,
        )


def _holds_objects(data: bytes) -> bool:
    """Tell whether this is a .npy file of Python objects, that is a pickle."""
    if not data.startswith(b"\x93NUMPY"):
        return False
    start = 10 if data[6:7] == b"\x01" else 12
    return b"|O" in data[start : start + int.from_bytes(data[8:start], "little")]


class _Folder:
    def __init__(self, root: Path) -> None:
        self.where = str(root)
        self.root = root

    def has(self, name: str) -> bool:
        try:
            os.lstat(self.root / name)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:  # it may be; who reads it is told why not
            return True
        return True

    def names(self) -> list[str]:
        found: list[str] = []
        for path in sorted(self.root.rglob("*")):
            name = path.relative_to(self.root).as_posix()
            if path.is_symlink():
                raise AddonError(f"'{name}' is a link; an addon holds its own files", where=self.where)
            if path.is_file():
                found.append(name)
            elif not path.is_dir():
                raise AddonError(f"'{name}' is not a plain file", where=self.where)
            if len(found) > MAX_FILES:
                raise AddonError(f"more than {MAX_FILES} files", where=self.where)
        return found

    def size(self, name: str) -> int:
        return (self.root / name).stat().st_size

    def read(self, name: str) -> bytes:
        path = self.root / checked_name(name, where=self.where)
        try:
            inside = [
                part for part in (path, *path.parents) if part.is_relative_to(self.root) and part != self.root
            ]
            if any(part.is_symlink() for part in inside):
                raise AddonError(f"'{name}' is a link; an addon holds its own files", where=self.where)
            return path.read_bytes()
        except OSError as error:
            raise AddonError(f"file '{name}' cannot be read: {error.strerror}", where=self.where) from error


class _Zip:
    def __init__(self, path: Path) -> None:
        self.where = str(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except Exception as error:  # zipfile raises a dozen unrelated classes on broken files
            raise AddonError(
                f"not an addon: neither a folder nor a zip ({error})", where=self.where
            ) from error
        self._infos: dict[str, zipfile.ZipInfo] = {}
        total = 0
        packed = path.stat().st_size
        most = max(RATIO_FREE_BYTES, MAX_RATIO * packed)
        for info in self._zip.infolist():
            name = checked_name(info.filename.removesuffix("/"), where=self.where)
            if info.is_dir():
                continue
            kind = stat.S_IFMT(info.external_attr >> 16)  # 0: the zip does not say
            if kind not in (0, stat.S_IFREG):
                raise AddonError(
                    f"'{name}' is a link or a device; an addon holds its own files", where=self.where
                )
            if name in self._infos:
                raise AddonError(f"'{name}' stands twice in the zip", where=self.where)
            if info.flag_bits & 1:
                raise AddonError(f"'{name}' is encrypted", where=self.where)
            total += info.file_size
            # Counted against the whole zip: the files of a bomb may share their packed bytes.
            if info.file_size > MAX_FILE_BYTES or total > min(most, MAX_TOTAL_BYTES):
                raise AddonError(
                    f"with '{name}' it would unpack to {total:,} bytes from {packed:,}: a zip bomb",
                    where=self.where,
                )
            self._infos[name] = info
        if len(self._infos) > MAX_FILES:
            raise AddonError(f"more than {MAX_FILES} files", where=self.where)

    def has(self, name: str) -> bool:
        return name in self._infos

    def names(self) -> list[str]:
        return list(self._infos)

    def size(self, name: str) -> int:
        return self._infos[name].file_size

    def read(self, name: str) -> bytes:
        if name not in self._infos:
            raise AddonError(f"file '{name}' is missing", where=self.where)
        info = self._infos[name]
        try:
            with self._zip.open(info) as member:
                # The size in the directory is a claim; read no more than it.
                data = member.read(info.file_size + 1)
        except Exception as error:  # zipfile raises a dozen unrelated classes on broken files
            raise AddonError(f"file '{name}' cannot be unpacked: {error}", where=self.where) from error
        if len(data) != info.file_size:
            raise AddonError(f"file '{name}' is not as long as the zip says", where=self.where)
        return data
