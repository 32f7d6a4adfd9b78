"""Tell clients apart by API keys that the server does not know, only their hashes."""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from voxstack.core.errors import ConfigError, RequestError
from voxstack.server.refusals import Refusal

__all__ = ["Allowance", "Keys", "add_key", "hashed"]

KEY_BYTES = 32
LINE = re.compile(r"(?P<name>[\w.@-]+):(?P<hash>[0-9a-f]{64})", re.ASCII)
MINUTE_S = 60.0


def hashed(key: str) -> bytes:
    """Return what is kept of a key: SHA-256, for it has 256 random bits and cannot be guessed."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def add_key(file: Path, name: str) -> str:
    """Make a key for a client, add its hash to a file, and return the key: it is not kept anywhere.

    Raises:   RequestError if the name cannot be used, has a key already, or the file cannot be written
    """
    if not LINE.fullmatch(f"{name}:{'0' * 64}"):
        raise RequestError(f"got '{name}', want letters, digits and any of . _ @ -", where="key's name")
    if file.exists() and name in _read(file):
        raise RequestError(f"'{name}' has a key already; remove its line first", where=str(file))
    key = f"vox-{secrets.token_urlsafe(KEY_BYTES)}"
    try:
        with file.open("a", encoding="utf-8") as lines:
            lines.write(f"{name}:{hashed(key).hex()}\n")
    except OSError as error:
        raise RequestError(f"cannot be written: {error.strerror}", where=str(file)) from error
    return key


@dataclass
class Keys:
    """The keys of one file, read again when it has changed.

    Raises:   RequestError if it cannot be read; ConfigError if a line is wrong
    """

    file: Path
    _hashes: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    _changed_ns: int = -1

    def __post_init__(self) -> None:
        self.refresh()

    def refresh(self) -> None:
        """Read the file, if it has changed; where it is wrong, the keys that held go on to hold."""
        try:
            changed_ns = self.file.stat().st_mtime_ns
        except OSError as error:
            raise RequestError(f"cannot be read: {error.strerror}", where=str(self.file)) from error
        if changed_ns != self._changed_ns:
            self._changed_ns = changed_ns
            self._hashes = _read(self.file)

    def name_of(self, key: str) -> str | None:
        """Return whose key it is; how long it takes does not tell how much of a key is right."""
        given = hashed(key)
        found = None
        for name, known in self._hashes.items():
            if hmac.compare_digest(given, known):
                found = name
        return found


@dataclass
class Allowance:
    """How many characters each client may still send: a minute's worth at once, refilled evenly."""

    characters_per_minute: int
    clock: Callable[[], float] = time.monotonic
    _left: dict[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])

    def take(self, client: str, characters: int) -> None:
        """Take so many; raise Refusal if they are not there, and take none then."""
        most = self.characters_per_minute
        if characters > most:
            raise Refusal(
                400, f"got {characters:,} characters, this key may send {most:,} a minute", param="input"
            )
        now = self.clock()
        left, since = self._left.get(client, (float(most), now))
        left = min(float(most), left + (now - since) * most / MINUTE_S)
        if left < characters:
            self._left[client] = (left, now)
            wait_s = (characters - left) * MINUTE_S / most
            raise Refusal(
                429,
                f"this key may send {most:,} characters a minute, {int(left):,} are left; "
                f"try again in {wait_s:.0f} s",
                retry_after_s=wait_s,
            )
        self._left[client] = (left - characters, now)

    def give_back(self, client: str, characters: int) -> None:
        """Take back what was taken for a request that was not begun."""
        left, since = self._left[client]
        self._left[client] = (min(float(self.characters_per_minute), left + characters), since)


def _read(file: Path) -> dict[str, bytes]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"cannot be read: {error}", where=str(file)) from error
    found: dict[str, bytes] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = LINE.fullmatch(text)
        where = f"{file}, line {number}"
        if match is None:
            raise ConfigError("want NAME:HASH, the SHA-256 of the key in 64 small hex digits", where=where)
        if match["name"] in found:
            raise ConfigError(f"'{match['name']}' has a key already", where=where)
        found[match["name"]] = bytes.fromhex(match["hash"])
    return found
