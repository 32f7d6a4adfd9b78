"""Bound what a connection may do before, between and behind its requests, and let it be cut."""

import asyncio
import json
import math
import sys
from collections.abc import Callable, MutableMapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from voxstack.server.refusals import Refusal

__all__ = ["CUT", "Connection", "Lingering", "cut", "refusing"]

HEAD_S = 20.0
"""How long a client may take for the head of a request."""

HEAD_BYTES = 65_536
"""How much may come that is no body: a head, what stands around chunks and behind them."""

REST_S = 5.0
"""How long what still comes of a request that was answered is let pass: who is cut off hears no answer."""

LINGER_S = 20.0
"""How long a client may take none of the last bytes of an answer."""

CUT = "voxstack.cut"
"""Where in a request's scope stands what ends its connection."""


def cut(scope: MutableMapping[str, Any], *, after_s: float = 0.0) -> None:
    """End the connection of a request, and drop what still waits to be sent: else that waits for ever."""
    ending: Callable[[], None] | None = scope.get(CUT)
    if ending is not None:
        asyncio.get_running_loop().call_later(after_s, ending)


def refusing(message: str, code: str) -> bytes:
    """Return an answer to what never becomes a request, behind which the connection ends."""
    body = json.dumps(Refusal(400, message, code=code).body).encode()
    head = (
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


class Lingering:
    """A connection that ends when its client takes nothing of the last bytes."""

    transport: asyncio.Transport
    _timer: asyncio.TimerHandle | None = None

    def _linger(self, before: float = math.inf) -> None:
        """End a connection that is closing but for bytes that its client does not take."""
        self._stop_waiting()
        left = self.transport.get_write_buffer_size()
        if left >= before:
            self.transport.abort()
        else:
            self._timer = asyncio.get_running_loop().call_later(LINGER_S, self._linger, left)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Connection(Lingering, HttpToolsProtocol):
    """One HTTP connection; it ends if a request comes too slowly, or an answer is not taken."""

    _idle_bytes = 0
    _has_body = False
    _is_whole = False
    _is_offer = False
    _came = b""
    _again = b""
    _answering: RequestResponseCycle | None = None
    _since_s = 0.0

    @property
    def waits_since(self) -> float | None:
        """Since when it waits for a request, in seconds of the loop's clock; None: it answers one."""
        return None if self._is_answering or self.transport.is_closing() else self._since_s

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._since_s = asyncio.get_running_loop().time()
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more, and tell whoever is answering: of several requests the base tells the last only."""
        self._stop_waiting()
        for cycle in (self._answering, *(cycle for cycle, _ in self.pipeline)):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        self.pipeline.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; it ends the wait for a request only where it brings one."""
        waiting, self._has_body, self._is_whole = self._timer, False, False
        self._again = data
        while self._again and not self.transport.is_closing():
            self._came, self._again = self._again, b""
            super().data_received(self._came)
        self._came = b""
        if self.transport.is_closing():
            self._linger()
        elif self._has_body:
            self._idle_bytes = 0
        elif self._timer is None:
            if not self._is_whole:  # line ends between requests
                self._wait()
        elif self._timer is waiting:
            self._idle_bytes += len(data)
            if self._idle_bytes > HEAD_BYTES:
                self.transport.abort()

    def on_message_begin(self) -> None:
        """Begin to wait for the head of a further request."""
        super().on_message_begin()
        if self._timer is None:
            self._wait()
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        scope[CUT] = self.transport.abort

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a line of the head; what stands behind a body is of no use here."""
        if "method" not in self.scope:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to wait for the end of the body."""
        parser: Any = self.parser
        is_tunnel = parser.get_method() == b"CONNECT"
        self._is_offer = parser.should_upgrade() and not self._should_upgrade() and not is_tunnel
        if self._is_offer:
            return
        super().on_headers_complete()
        self._wait()
        if self.scope["http_version"] == "1.0" and self.cycle is not None:
            _end_with_connection(self.cycle)

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._has_body = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait no more: the request is there."""
        if self._is_offer:
            return
        self._is_whole = True
        self._stop_waiting()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Answer the next request, or see that the last bytes are taken."""
        super().on_response_complete()
        self._since_s = asyncio.get_running_loop().time()
        if self.transport.is_closing():
            self._linger()
        elif self.cycle.more_body and not self._is_answering:
            self._wait(REST_S)

    def timeout_keep_alive_handler(self) -> None:
        """End a connection on which no further request comes."""
        super().timeout_keep_alive_handler()
        self._linger()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection on, unless another request is still answered on it."""
        if self._is_answering:
            self.transport.abort()
            return
        self._stop_waiting()
        self._is_whole = True
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, unless that would stand in the middle of another answer."""
        if self._is_answering and self._answering.response_started:  # type: ignore[union-attr]
            self.transport.abort()
            return
        self.transport.write(refusing("this is no HTTP request", "not_http"))
        self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _unsupported_upgrade_warning(self) -> None:
        """Read what offers another protocol (h2c) again without the offer: it is answered in this one.

        The parser took all behind its head for that protocol, also its body.
        """
        if not self._is_offer:
            return
        self._is_offer = False
        end: int = sys.exception().args[0]  # type: ignore[union-attr]  # called where it is caught
        self._again = self._head_without_offer() + self._came[end:]

    def _head_without_offer(self) -> bytes:
        parser: Any = self.parser
        first = b"%s %s HTTP/%s" % (parser.get_method(), self.url, parser.get_http_version().encode())
        lines = [b"%s: %s" % (name, value) for name, value in self.headers if name != b"upgrade"]
        return b"\r\n".join([first, *lines, b"", b""])

    @property
    def _is_answering(self) -> bool:
        return self._answering is not None and not self._answering.response_complete

    def _wait(self, at_most_s: float | None = None) -> None:
        """Wait anew for a part of a request."""
        self._stop_waiting()
        self._idle_bytes = 0
        self._timer = asyncio.get_running_loop().call_later(at_most_s or HEAD_S, self._give_up)

    def _give_up(self) -> None:
        if self._is_answering:  # what comes behind it waits; the answer has bounds of its own
            self._wait()
        else:
            self.transport.abort()


def _end_with_connection(cycle: RequestResponseCycle) -> None:
    """Let an answer whose length nobody knows end with its connection: HTTP/1.0 has no chunks."""
    send = cycle.send

    async def unframed(message: Any) -> None:
        if message["type"] == "http.response.start":
            if not any(name.lower() == b"content-length" for name, _ in message.get("headers", ())):
                cycle.chunked_encoding, cycle.expected_content_length = False, math.inf  # type: ignore[assignment]
        elif cycle.expected_content_length == math.inf and not message.get("more_body", False):
            cycle.expected_content_length = len(message.get("body", b""))
        await send(message)

    cycle.send = unframed
