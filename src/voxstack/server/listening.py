"""Listen at an address, and bound how many connections are open there at a time."""

import errno
import logging
import socket
import sys
import time
import weakref
from collections.abc import Callable, Container
from contextlib import suppress
from typing import Any

from voxstack.core.errors import RequestError
from voxstack.engine.lines import write_line

__all__ = ["CONNECTIONS", "Listener", "most_connections"]

SEND_BUFFER_BYTES = 65_536
"""What the system keeps for a client who does not read; else megabytes, minutes of audio."""

CONNECTIONS = 1024
"""Connections open at a time, where nobody says how many and the system has files for them."""

SPARE_FILES = 64
"""Files that a server opens for itself: voices that load, recordings, libraries."""

QUIET_S = 60.0
"""How long nothing more is written of connections that find no room."""

NO_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def most_connections(wanted: int | None) -> int:
    """Return how many connections may be open: as wanted, else as many as are sensible.

    Raises:   RequestError if the system does not let the process open as many files
    """
    files = _most_files()
    if wanted is None:
        return min(CONNECTIONS, max(files - SPARE_FILES, files // 4, 1))
    if wanted >= files:
        what = f"got {wanted}, but the system lets it open {files} files; say fewer, or raise 'ulimit -n'"
        raise RequestError(what, where="max_connections")
    return wanted


def _most_files() -> int:
    if sys.platform == "win32":
        return sys.maxsize
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


class Listener(socket.socket):
    """A socket that listens; a connection beyond its bound takes the place of another, or is closed.

    most       connections open at a time
    make_room  closes one that nobody will miss; False if there is none, and then the new one is closed
    closed     is told of each that was closed for want of room, and why: "idle" or "full"
    """

    def __init__(self, family: int = -1, kind: int = -1) -> None:
        super().__init__(family, kind)
        self.most = CONNECTIONS
        self.make_room: Callable[[], bool] = lambda: False
        self.closed: Callable[[str], None] = lambda why: None
        self._clients: weakref.WeakKeyDictionary[socket.socket, None] = weakref.WeakKeyDictionary()
        self._has_taken = False
        self._said_s = -QUIET_S

    @classmethod
    def at(cls, host: str, port: int, flag: str) -> "Listener":
        """Return one that is bound to an address; raise RequestError if it cannot be.

        In:       flag  what an error names as the way to choose another port
        """
        where = f"{host}:{port}"
        try:
            [(family, kind, _, _, address), *_] = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            listener = cls(family, kind)
        except OSError as error:
            raise RequestError(f"cannot listen there: {error.strerror or error}", where=where) from error
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            # Else a chunk waits 40 ms for the client's system to say that it has the one before.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            listener.bind(address)
        except OSError as error:
            listener.close()
            what = f"cannot listen there: {error.strerror}"
            if error.errno == errno.EADDRINUSE:
                what += f"; stop what listens there, or choose another {flag}"
            raise RequestError(what, where=where) from error
        return listener

    @property
    def open(self) -> int:
        """Connections that are open now, those whose TLS is not agreed yet included."""
        return sum(client.fileno() >= 0 for client in self._clients)

    def shut_first(self, but: Container[int]) -> bool:
        """Shut the oldest connection but those of some file numbers; answer whether there is one."""
        for client in self._clients:
            if client.fileno() >= 0 and client.fileno() not in but:
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
                return True
        return False

    def accept(self) -> tuple[socket.socket, Any]:
        """Take one connection in each turn of the event loop: it asks for all before it tells of any."""
        self._has_taken = not self._has_taken
        if not self._has_taken:
            raise BlockingIOError
        try:
            client, address = super().accept()
        except OSError as error:
            if error.errno in NO_FILES:  # the loop asks again in a second
                self.make_room()
                self._say(f"{error.strerror}; raise 'ulimit -n' or LimitNOFILE, or lower max_connections")
            raise
        if self.open >= self.most and not self._has_room():
            client.close()
            raise BlockingIOError
        self._clients[client] = None
        return client, address

    def _has_room(self) -> bool:
        has_room = self.make_room()
        self.closed("idle" if has_room else "full")
        done = "those that wait longest for a request are closed" if has_room else "new ones are closed"
        self._say(f"as many as max_connections; {done}")
        return has_room

    def _say(self, what: str) -> None:
        now = time.monotonic()
        if now - self._said_s >= QUIET_S:
            self._said_s = now
            write_line(logging.WARNING, "connections", {"open": self.open, "most": self.most, "error": what})
