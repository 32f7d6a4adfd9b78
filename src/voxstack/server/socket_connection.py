"""Bound what a WebSocket may do below its messages, and let it be cut."""

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request

from voxstack.server.connection import CUT, Lingering, refusing

__all__ = ["SocketConnection"]


class SocketConnection(Lingering, WebSocketsSansIOProtocol):
    """One WebSocket; it ends if its head is none, or its last bytes are not taken."""

    _pong = b""

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; the first is the whole head, which the base leaves unanswered if it is none."""
        super().data_received(data)
        if not self.handshake_initiated:
            self.transport.write(refusing("this is no head of a WebSocket", "not_websocket"))
            self.transport.close()

    def handle_connect(self, event: Request) -> None:
        """Begin to answer a client who wants one."""
        super().handle_connect(event)
        if not self.close_sent:  # what answers begins to run after this
            scope: dict[str, Any] = self.scope  # type: ignore[assignment]
            scope[CUT] = self.transport.abort

    def handle_cont(self, event: Frame) -> None:
        """Take a part of a message; of empty ones there may be any number."""
        if event.data or event.fin:
            super().handle_cont(event)

    def handle_ping(self) -> None:
        """Answer when there is room; of pings that come before, the last is."""
        pongs = b"".join(self.conn.data_to_send())  # of all pings that came at once
        if self.writable.is_set():
            self.transport.write(pongs)
        else:
            self._pong = pongs or self._pong

    def resume_writing(self) -> None:
        """Go on, with a pong that waits."""
        super().resume_writing()
        pong, self._pong = self._pong, b""
        self.transport.write(pong)

    def handle_parser_exception(self) -> None:
        """End what cannot be understood; what is still to be sent is dropped, and nobody's fault."""
        super().handle_parser_exception()
        self.disconnected = True
        self._linger()

    async def run_asgi(self) -> None:
        """Answer, and see that the last bytes are taken."""
        await super().run_asgi()
        if not self.disconnected:
            self._linger()
