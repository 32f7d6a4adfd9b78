"""Let each request in by its key, give it an id, answer errors, and write a line when it is over."""

import logging
import secrets
import time
import traceback
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.lowlevel
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from voxstack.core.errors import Cancelled, DeadlineError
from voxstack.engine.lines import write_line
from voxstack.server.connection import cut
from voxstack.server.desk import Desk
from voxstack.server.refusals import Refusal, Stalled, refusal_of
from voxstack.server.web_page import FILES

__all__ = ["OPEN", "Door", "Visit", "client_of", "key_of", "refused", "visit_of"]

OPEN = frozenset({"/health", "/ready", *FILES})
"""What needs no key: who watches over processes has none, and the page asks for it."""

VISIT = "voxstack.visit"
BROKE_OFF, FAILED, STALLED = "broke off", "failed", "stalled"
"""How an answer that had begun may end: it is closed; the client is told in it; it took nothing."""

BROKEN = 500
"""Least status that says that it is not the client's fault."""

TAKING_S = 20.0
"""How long a client may take for what was made until its answer broke off."""


@dataclass
class Visit:
    """One request, for whoever has to do with it.

    client   whose key it came with, if keys are needed
    facts    what its line in the log says of it, never a text
    outcome  how its answer ended
    """

    id: str
    client: str | None = None
    arrived_s: float = field(default_factory=time.monotonic)
    facts: dict[str, str | int | float | bool] = field(default_factory=dict[str, str | int | float | bool])
    outcome: str = "done"
    status: int = 0

    @property
    def age_s(self) -> float:
        return time.monotonic() - self.arrived_s


def visit_of(scope: MutableMapping[str, Any]) -> Visit:
    """Return the visit that a scope belongs to."""
    visit: Visit = scope[VISIT]
    return visit


class Door:
    """Stand before all routes."""

    def __init__(self, app: ASGIApp, desk: Desk) -> None:
        self._app = app
        self._desk = desk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit = Visit(secrets.token_hex(8))
        scope[VISIT] = visit
        scope["app"] = self  # Starlette raises what it else would answer in words of its own
        is_counted = scope["path"] not in OPEN

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                visit.status = message["status"]
                message.setdefault("headers", []).append((b"x-request-id", visit.id.encode()))
            await _taken(send, message, self._desk.settings.stalled_s)

        self._desk.in_flight += is_counted
        try:
            self._let_in(scope, visit)
            await self._app(scope, receive, told)
        except anyio.get_cancelled_exc_class():
            visit.outcome = "stopped"
            raise
        except Exception as error:  # noqa: BLE001 - the client is told, and the log
            await self._answer(error, visit, scope, receive, told)
        finally:
            if visit.outcome in (BROKE_OFF, STALLED):
                cut(scope, after_s=0.0 if visit.outcome == STALLED else TAKING_S)
            self._desk.in_flight -= is_counted
            self._write(scope, visit)

    def _let_in(self, scope: Scope, visit: Visit) -> None:
        """Find out whose key it is; raise Refusal."""
        keys = self._desk.keys
        if keys is None or scope["path"] in OPEN:
            return
        visit.client = client_of(key_of(HTTPConnection(scope)), self._desk)

    async def _answer(
        self, error: Exception, visit: Visit, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if isinstance(error, HTTPException):
            what = f"{scope['method']} {scope['path']}: {error.detail}"
            error = Refusal(error.status_code, what)
        refusal = refused(error, visit)
        if visit.status:  # too late for words
            visit.outcome = STALLED if isinstance(error, Stalled) else BROKE_OFF
            return
        visit.outcome = "refused"
        self._desk.metrics.refusals.labels(refusal.code).inc()
        await JSONResponse(refusal.body, refusal.status, refusal.headers)(scope, receive, send)

    def _write(self, scope: Scope, visit: Visit) -> None:
        route = getattr(scope.get("route"), "path", "none")
        self._desk.metrics.requests.labels(route, scope["method"], visit.status).inc()
        address = scope.get("client")
        facts = {
            "id": visit.id,
            "method": scope["method"],
            "path": scope["path"],
            "status": visit.status,
            "outcome": visit.outcome,
            "took_s": round(visit.age_s, 4),
            "address": address[0] if address else "",
            **({} if visit.client is None else {"client": visit.client}),
            **visit.facts,
        }
        level = logging.DEBUG if scope["path"] in OPEN else logging.INFO
        write_line(level, "http", facts)


async def _taken(send: Send, message: Message, stalled_s: float) -> None:
    """Wait until the connection takes a message; let go a client who takes nothing for too long."""
    try:
        with anyio.fail_after(stalled_s):
            await send(message)
            if message.get("more_body"):
                await anyio.lowlevel.checkpoint()  # so that who has left is noticed before there is more
    except TimeoutError:
        raise Stalled(stalled_s) from None


def refused(error: BaseException, visit: Visit) -> Refusal:
    """Return what a client is told of an error; the log is told the rest."""
    refusal = refusal_of(error, request=visit.id)
    visit.facts["reason"] = refusal.code
    is_expected = isinstance(error, Refusal | Cancelled | DeadlineError)  # a drain, a deadline: nothing broke
    if refusal.status >= BROKEN and not is_expected:
        write_line(
            logging.ERROR, "broken", {"id": visit.id, "error": "".join(traceback.format_exception(error))}
        )
    return refusal


def key_of(connection: HTTPConnection) -> str:
    """Return the key in a request's headers, empty if there is none."""
    kind, _, key = connection.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not key:
        key = connection.headers.get("xi-api-key", "")
    return key.strip()


def client_of(key: str, desk: Desk) -> str | None:
    """Return whose key it is, None if none is needed; raise Refusal."""
    if desk.keys is None:
        return None
    if not key:
        raise Refusal(
            401, "no API key; send 'Authorization: Bearer KEY' or 'xi-api-key: KEY'", code="missing_api_key"
        )
    client = desk.keys.name_of(key)
    if client is None:
        raise Refusal(401, "this API key is not known here")
    return client
