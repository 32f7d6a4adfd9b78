"""Talk to a client over a WebSocket: JSON both ways, audio out, and one clear end."""

import json
import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import anyio
import anyio.lowlevel
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from voxstack.engine.lines import write_line
from voxstack.server.connection import cut
from voxstack.server.desk import Desk
from voxstack.server.dictating import LEFT, REFUSED, LeftError
from voxstack.server.door import STALLED, Visit, client_of, key_of, refused
from voxstack.server.refusals import Refusal, Stalled
from voxstack.stack.strict import parse_json

__all__ = ["Socket", "close_code", "socket_route"]

DONE, IDLE, FORBIDDEN, BROKEN, LATER = 1000, 1001, 1008, 1011, 1013
"""Why a WebSocket closes, as RFC 6455 numbers it."""

CLOSING_S = 2.0
"""How long a client may take to hear why it is let go."""

QUERY_KEYS = ("xi-api-key", "key")
"""Where a key may stand for those who cannot set headers: pages in a browser."""


class Socket:
    """One WebSocket that was accepted.

    Raises:   from all that it does, LeftError once the client has gone
    """

    def __init__(self, websocket: WebSocket, desk: Desk) -> None:
        self.desk = desk
        self.visit = Visit(secrets.token_hex(8))
        self.path = websocket.path_params
        self.query = websocket.query_params
        self._websocket = websocket
        keys = [key_of(websocket), *(self.query.get(name, "") for name in QUERY_KEYS)]
        self.key = next((key for key in keys if key), "")

    @property
    def is_known(self) -> bool:
        """Whether no key has to come with the first message."""
        return bool(self.key) or self.desk.keys is None

    def let_in(self, key: str | None = None) -> str | None:
        """Return whose key it was opened with, or `key` of its first message; raise Refusal."""
        self.visit.client = client_of(self.key or key or "", self.desk)
        return self.visit.client

    async def receive(self, silent_s: float | None) -> Any:
        """Return what the JSON of the next message says.

        Raises:   Refusal if none comes for so many seconds; ConfigError if it is not JSON
        """
        try:
            with anyio.fail_after(silent_s):
                message = await self._websocket.receive()
        except TimeoutError:
            raise Refusal(408, f"nothing came for {silent_s:g} s", code="input_timeout_exceeded") from None
        if message["type"] == "websocket.disconnect":
            raise LeftError
        return parse_json(message.get("text") or message.get("bytes") or b"", where="$")

    async def send(self, value: dict[str, Any] | bytes) -> None:
        """Send an object as JSON, or bytes, when the connection has taken what came before.

        Raises:   Stalled if it takes nothing for too long
        """
        if self._websocket.application_state is WebSocketState.DISCONNECTED:
            raise LeftError
        stalled_s = self.desk.settings.stalled_s
        try:
            with anyio.fail_after(stalled_s):
                if isinstance(value, bytes):
                    await self._websocket.send_bytes(value)
                else:
                    await self._websocket.send_text(json.dumps(value, separators=(",", ":")))
                await anyio.lowlevel.checkpoint()  # so that who has left is noticed before there is more
        except TimeoutError:
            raise Stalled(stalled_s) from None
        except WebSocketDisconnect:
            raise LeftError from None

    async def close(self, code: int = DONE, reason: str = "") -> None:
        """Say goodbye."""
        self.visit.status = code
        with anyio.move_on_after(CLOSING_S) as closing:
            try:
                await self._websocket.close(code, reason)
            except WebSocketDisconnect:
                return
        if closing.cancelled_caught:
            self.cut()

    def cut(self) -> None:
        """End it without a word."""
        cut(self._websocket.scope)


Converse = Callable[[Socket], Awaitable[None]]
Tell = Callable[[Refusal, int], dict[str, Any]]


def socket_route(desk: Desk, converse: Converse, tell: Tell) -> Callable[[WebSocket], Awaitable[None]]:
    """Return what answers the route.

    In:       converse  talks until it is over
              tell      makes the message that says why there is no more, and with which code it closes
    """

    async def answer(websocket: WebSocket) -> None:
        socket = Socket(websocket, desk)
        visit = socket.visit
        try:
            if not _may_come(websocket, desk):
                visit.outcome, visit.status = REFUSED, 403
                await websocket.close()
                return
            await websocket.accept(headers=[(b"x-request-id", visit.id.encode())])
            await converse(socket)
            await socket.close()
        except LeftError:
            visit.outcome = LEFT
        except Stalled:
            visit.outcome = STALLED
            socket.cut()
        except anyio.get_cancelled_exc_class():
            visit.outcome = "stopped"
            raise
        except Exception as error:  # noqa: BLE001 - the client is told, and the log
            visit.outcome = REFUSED if visit.outcome == "done" else visit.outcome
            await _let_go(socket, refused(error, visit), tell)
        finally:
            _write(websocket, socket)

    return answer


def close_code(refusal: Refusal) -> int:
    """Return the code with which a socket closes that gives no more audio."""
    if refusal.status in (429, 503):
        return LATER
    return BROKEN if refusal.status >= 500 else FORBIDDEN


async def _let_go(socket: Socket, refusal: Refusal, tell: Tell) -> None:
    """Tell a client why, and close."""
    socket.desk.metrics.refusals.labels(refusal.code).inc()
    code = close_code(refusal)
    try:
        with anyio.fail_after(CLOSING_S):
            await socket.send(tell(refusal, code))
        await socket.close(code, refusal.code)
    except (LeftError, TimeoutError, Stalled):
        socket.visit.status = code
        socket.cut()


def _may_come(websocket: WebSocket, desk: Desk) -> bool:
    """Answer whether a page may call from where it was loaded; other programs do not say where that is."""
    origin = websocket.headers.get("origin")
    allowed = desk.settings.cors_origins
    if origin is None or "*" in allowed or origin in allowed:
        return True
    try:
        place = urlsplit(origin).netloc
    except ValueError:
        return False
    return place.lower() == websocket.headers.get("host", "").lower()


def _write(websocket: WebSocket, socket: Socket) -> None:
    visit = socket.visit
    route = getattr(websocket.scope.get("route"), "path", "none")
    socket.desk.metrics.requests.labels(route, "WEBSOCKET", visit.status).inc()
    facts = {
        "id": visit.id,
        "path": websocket.url.path,
        "status": visit.status,
        "outcome": visit.outcome,
        "took_s": round(visit.age_s, 4),
        "address": websocket.client.host if websocket.client else "",
        **({} if visit.client is None else {"client": visit.client}),
        **visit.facts,
    }
    write_line(logging.INFO, "websocket", facts)
