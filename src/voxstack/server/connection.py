"""Bound what a connection may do before it has said what it wants, and let it be cut."""

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

__all__ = ["Connection", "SocketConnection", "cut"]

HEAD_S = 20.0
"""How long a client may take for the head of a request."""

HEAD_BYTES = 65_536

CUT = "voxstack.cut"


def cut(scope: MutableMapping[str, Any], *, after_s: float = 0.0) -> None:
    """End the connection of a request, and drop what still waits to be sent: else that waits for ever."""
    ending: Callable[[], None] | None = scope.get(CUT)
    if ending is not None:
        asyncio.get_running_loop().call_later(after_s, ending)


class Connection(HttpToolsProtocol):
    """One HTTP connection; a head that comes too slowly or is too large ends it."""

    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        super().data_received(data)
        if self._timer is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self.transport.abort()

    def on_message_begin(self) -> None:
        """Begin to wait for the head of a further request."""
        super().on_message_begin()
        self._wait_for_head()
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        scope[CUT] = self.transport.abort

    def on_headers_complete(self) -> None:
        """Wait no more: the head is there."""
        self._stop_waiting()
        super().on_headers_complete()

    def _wait_for_head(self) -> None:
        if self._timer is None:
            self._head_bytes = 0
            self._timer = asyncio.get_running_loop().call_later(HEAD_S, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class SocketConnection(WebSocketsSansIOProtocol):
    """One WebSocket, which can be cut."""

    def handle_connect(self, event: Request) -> None:
        """Begin to answer a client who wants one."""
        super().handle_connect(event)
        if not self.close_sent:  # what answers begins to run after this
            scope: dict[str, Any] = self.scope  # type: ignore[assignment]
            scope[CUT] = self.transport.abort
