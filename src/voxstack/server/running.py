"""Run a server: listen, load, speak, look after things, and end without a word cut off."""

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

import anyio
import uvicorn
from anyio import to_thread

from voxstack.core.errors import VoxstackError
from voxstack.engine.lines import write_line
from voxstack.server.app import make_app
from voxstack.server.bodies import most_bytes
from voxstack.server.connection import Connection
from voxstack.server.desk import Desk
from voxstack.server.listening import Listener, most_connections
from voxstack.server.settings import ServerSettings
from voxstack.server.socket_connection import SocketConnection
from voxstack.server.wyoming import WyomingServer

__all__ = ["Server", "bind"]

KEEP_ALIVE_S = 30
LOOK_S = 1.0
CUT_S = 1
"""How long answers that were cut short may take to go."""

BACKLOG = 512

KNOWN = (
    "without completing response",
    "Invalid UTF-8 sequence",
    "out of system resource",
    "timeout graceful shutdown exceeded",
)
"""What libraries say of an answer that broke off, bytes that are no text, too many files, an end at once."""


def bind(settings: ServerSettings) -> Listener:
    """Return a socket at the host and port that settings name; raise RequestError."""
    return Listener.at(settings.host, settings.port, "--port")


class Server(uvicorn.Server):
    """Serve a desk's voices on one socket until `drain` is called, or the process is told to end.

    In:       ready  is called once the voices are loaded
    Raises:   from `run_until_ended`, why the voices could not be loaded
    """

    def __init__(self, desk: Desk, listener: Listener, ready: Callable[[], None] | None = None) -> None:
        settings = desk.settings
        super().__init__(
            uvicorn.Config(
                make_app(desk),
                http=Connection,
                ws=SocketConnection,
                ws_max_size=most_bytes(settings.max_characters),
                ws_ping_timeout=None,  # who waits for his text to be spoken is not read, his pongs neither
                ws_per_message_deflate=False,
                loop="asyncio",  # by which the listener is asked for connections
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
        for log in ("uvicorn.error", "asyncio"):
            logging.getLogger(log).addFilter(_is_news)
        self.desk = desk
        self._listener = listener
        listener.most = most_connections(settings.max_connections)
        listener.make_room = self._let_one_go
        self._count(listener, "http")
        self.wyoming: WyomingServer | None = None
        if settings.wyoming_port is not None:
            bound = Listener.at(settings.wyoming_host, settings.wyoming_port, "--wyoming-port")
            bound.most = max(1, listener.most // 4)
            listener.most = max(1, listener.most - bound.most)
            self._count(bound, "wyoming")
            self.wyoming = WyomingServer(desk, bound)
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

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Let signals drain; that of a terminal that is closed, too, but for who started it with nohup."""
        hang_up = getattr(signal, "SIGHUP", None)
        is_ours = hang_up is not None and threading.current_thread() is threading.main_thread()
        with super().capture_signals():
            if hang_up is None or not is_ours or signal.getsignal(hang_up) is signal.SIG_IGN:
                yield
                return
            before = signal.signal(hang_up, self.handle_exit)
            try:
                yield
            finally:
                signal.signal(hang_up, before)

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

    def _count(self, listener: Listener, protocol: str) -> None:
        """Let metrics see a listener's connections."""
        metrics = self.desk.metrics
        metrics.connections.labels(protocol).set_function(lambda: listener.open)
        listener.closed = lambda why: metrics.closed_connections.labels(protocol, why).inc()

    def _let_one_go(self) -> bool:
        """Close the connection that has waited longest for a request, else for TLS; say if any has.

        WebSockets do not count: whoever writes a text has his own time for it.
        """
        waiting = [
            (since, connection.transport)
            for connection in self.server_state.connections
            if (since := getattr(connection, "waits_since", None)) is not None
        ]
        if not waiting:
            known = self.server_state.connections
            return self._listener.shut_first(
                {one.transport.get_extra_info("socket").fileno() for one in known}
            )
        min(waiting, key=lambda one: one[0])[1].abort()
        return True

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
        if self.desk.settings.watch and not self.desk.is_draining:
            self.desk.upkeep.look()

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
    """Pass over what the log says already, and what is a client's fault alone."""
    message = record.getMessage()
    is_stopped = record.exc_info is not None and isinstance(record.exc_info[1], asyncio.CancelledError)
    return not is_stopped and not any(known in message for known in KNOWN)
