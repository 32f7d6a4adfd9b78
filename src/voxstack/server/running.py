"""Run a server: listen, load, speak, look after things, and end without a word cut off."""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from types import FrameType

import anyio
import uvicorn
from anyio import to_thread

from voxstack.core.errors import RequestError, VoxstackError
from voxstack.engine.lines import write_line
from voxstack.server.app import make_app
from voxstack.server.bodies import most_bytes
from voxstack.server.connection import Connection
from voxstack.server.desk import Desk
from voxstack.server.settings import ServerSettings
from voxstack.server.socket_connection import SocketConnection
from voxstack.server.wyoming import WyomingServer

__all__ = ["Server", "bind"]

SEND_BUFFER_BYTES = 65_536
"""What the system keeps for a client who does not read; else megabytes, minutes of audio."""

KEEP_ALIVE_S = 30
LOOK_S = 1.0
CUT_S = 1
"""How long answers that were cut short may take to go."""

BACKLOG = 512


def bind(settings: ServerSettings) -> socket.socket:
    """Return a socket at the host and port that settings name; raise RequestError."""
    return _bound(settings.host, settings.port, "--port")


def _bound(host: str, port: int, flag: str) -> socket.socket:
    where = f"{host}:{port}"
    try:
        [(family, kind, _, _, address), *_] = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        listener = socket.socket(family, kind)
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


class Server(uvicorn.Server):
    """Serve a desk's voices on one socket until `drain` is called, or the process is told to end.

    In:       ready  is called once the voices are loaded
    Raises:   from `run_until_ended`, why the voices could not be loaded
    """

    def __init__(self, desk: Desk, listener: socket.socket, ready: Callable[[], None] | None = None) -> None:
        settings = desk.settings
        super().__init__(
            uvicorn.Config(
                make_app(desk),
                http=Connection,
                ws=SocketConnection,
                ws_max_size=most_bytes(settings.max_characters),
                ws_ping_timeout=None,  # who waits for his text to be spoken is not read, his pongs neither
                ws_per_message_deflate=False,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=CUT_S,
                backlog=BACKLOG,
                ssl_certfile=settings.tls_cert,
                ssl_keyfile=settings.tls_key,
            )
        )
        logging.getLogger("uvicorn.error").addFilter(_is_news)
        self.wyoming: WyomingServer | None = None
        if settings.wyoming_port is not None:
            bound = _bound(settings.wyoming_host, settings.wyoming_port, "--wyoming-port")
            self.wyoming = WyomingServer(desk, bound)
        self.desk = desk
        self._listener = listener
        self._ready = ready or (lambda: None)
        self._failure: BaseException | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self._listener.getsockname()[:2]
        scheme = "https" if self.desk.settings.tls_cert else "http"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    def run_until_ended(self) -> None:
        """Serve; return when all requests have ended after a drain."""
        try:
            self.run(sockets=[self._listener])
        finally:
            self._listener.close()
            self.desk.service.close(drain_s=0)
        if self._failure is not None:
            raise self._failure

    def drain(self) -> None:
        """Take no new requests, let those at work end, then stop; from any thread, or a signal handler."""
        self.desk.is_draining = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain at the first signal, end at once at the second."""
        if self.desk.is_draining:
            self.should_exit = self.force_exit = True
        self.drain()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and begin to load the voices."""
        await super().startup(sockets)
        if self.wyoming is not None:
            await self.wyoming.open()
        self._tasks = [asyncio.create_task(self._load()), asyncio.create_task(self._end_when_drained())]

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close what is open."""
        for task in self._tasks:
            task.cancel()
        if self.wyoming is not None:
            await self.wyoming.close()
        await super().shutdown(sockets)
        # Who has not taken his last bytes by now never will.
        for connection in tuple(self.server_state.connections):
            connection.transport.abort()
        await anyio.sleep(0)

    async def _load(self) -> None:
        try:
            await to_thread.run_sync(self.desk.load, abandon_on_cancel=True)
        except Exception as error:  # noqa: BLE001 - raised by run_until_ended
            if not self.desk.is_draining:
                self._failure = error
            self.should_exit = True
            return
        self._ready()
        while True:
            await anyio.sleep(LOOK_S)
            await to_thread.run_sync(self._look, abandon_on_cancel=True)

    def _look(self) -> None:
        """See what has changed on disk: keys always, addons where they are watched."""
        try:
            if self.desk.keys is not None:
                self.desk.keys.refresh()
        except VoxstackError as error:
            write_line(logging.ERROR, "keys", {"error": str(error)})
        if self.desk.settings.watch:
            self.desk.reload()

    async def _end_when_drained(self) -> None:
        while not self.desk.is_draining:
            await anyio.sleep(0.05)
        with anyio.move_on_after(self.desk.settings.drain_s):
            while self.desk.in_flight or self.desk.service.at_work:
                await anyio.sleep(0.02)
        # Stops what has not ended; its listeners are told.
        await to_thread.run_sync(lambda: self.desk.service.close(drain_s=0))
        self.should_exit = True


def _is_news(record: logging.LogRecord) -> bool:
    """Pass over what the log says already: an answer that broke off, a client who sends what is no text."""
    message = record.getMessage()
    return not any(known in message for known in ("without completing response", "Invalid UTF-8 sequence"))
