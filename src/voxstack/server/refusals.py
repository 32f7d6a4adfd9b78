"""Say, in OpenAI's shape, why a request gets no audio, or no more of it."""

import math
import re
from typing import Any

from voxstack.core.errors import (
    BusyError,
    Cancelled,
    ConfigError,
    DeadlineError,
    RequestError,
    TooLongError,
    VoxstackError,
)

__all__ = ["Refusal", "Stalled", "draining", "refusal_of"]

NAMES = {"text": "input", "controls.speed": "speed"}
"""What the engine calls a part of a request → what the API calls it."""

KEY = re.compile(r"\$\.(\w+)")
"""The outermost key of a JSON path."""

CODES = {
    400: "invalid_value",
    401: "invalid_api_key",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    413: "too_large",
    429: "rate_limit_exceeded",
    500: "internal_error",
    503: "unavailable",
    504: "deadline_exceeded",
}

TYPES = {401: "authentication_error", 429: "rate_limit_error"}
CLIENTS_FAULT, SERVERS_FAULT = 400, 500


class Refusal(VoxstackError):  # noqa: N818 - an answer, not a fault
    """An answer other than what was asked for.

    In:       status  of HTTP; code  for programs; param  the key that is wrong
              retry_after_s  when the same request may be made again
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        # A client's text may hold half a character (a lone surrogate), which no answer can.
        message = message.encode(errors="backslashreplace").decode()
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code or CODES.get(status, "error")
        self.param = param
        self.retry_after_s = retry_after_s

    @property
    def body(self) -> dict[str, Any]:
        """The JSON that says it."""
        kind = "server_error" if self.status >= SERVERS_FAULT else "invalid_request_error"
        return {
            "error": {
                "message": self.message,
                "type": TYPES.get(self.status, kind),
                "param": self.param,
                "code": self.code,
            }
        }

    @property
    def headers(self) -> dict[str, str]:
        """What HTTP says beside it."""
        said = {}
        if self.retry_after_s is not None:
            said["Retry-After"] = str(math.ceil(self.retry_after_s))
        if self.status == 401:
            said["WWW-Authenticate"] = "Bearer"
        return said


class Stalled(Refusal):
    """A client took nothing for too long."""

    def __init__(self, stalled_s: float) -> None:
        super().__init__(408, f"nothing was taken for {stalled_s:g} s", code="stalled")


def draining() -> Refusal:
    """Return what a server says that takes no new requests, because it is about to end."""
    return Refusal(503, "the server is ending and takes no new requests", code="draining", retry_after_s=1.0)


def refusal_of(error: BaseException, *, request: str) -> Refusal:
    """Return what a client is told of an error: what he can mend, and nothing of the inside.

    In:       request  the id by which the server's log tells more
    """
    match error:
        case Refusal():
            return error
        case BusyError():
            return Refusal(429, str(error), retry_after_s=error.retry_after_s)
        case DeadlineError():
            return Refusal(504, str(error))
        case RequestError():
            code = "voice_not_found" if error.where == "voice" else None
            where = NAMES.get(error.where, error.where)
            return Refusal(400, str(error), code=code, param=where or None)
        case ConfigError() if error.where.startswith("$"):
            found = KEY.match(error.where)
            param = found[1] if found else None
            return Refusal(400, f"{param or 'the body'}: {error.what}", param=param)
        case TooLongError():
            return Refusal(400, error.what, param="input")
        case Cancelled():
            return draining()
        case VoxstackError():
            return Refusal(
                503,
                f"this voice cannot speak now; the server's log says why under request {request}",
                code="voice_unavailable",
            )
        case _:
            return Refusal(500, f"something broke in the server; its log says what under request {request}")
