"""Read what a client sends as JSON, no more of it and no longer than is sensible."""

from typing import TypeVar

import anyio
from starlette.requests import ClientDisconnect, Request

from voxstack.server.refusals import Refusal
from voxstack.stack.strict import StrictModel, parse_json, validated

__all__ = ["most_bytes", "read_json"]

SENDING_S = 20.0
"""How long a client may take to send its body."""

LEAST_BYTES = 65_536
BYTES_PER_CHARACTER = 12
"""The most that a character can take in JSON: two escapes of six."""

HEARD_BYTES = 16_000_000
"""How much of a body that is too large is let pass: who is cut off while he sends hears no answer."""

Body = TypeVar("Body", bound=StrictModel)


def most_bytes(characters: int) -> int:
    """Return how long JSON may be whose texts have so many characters."""
    return LEAST_BYTES + BYTES_PER_CHARACTER * characters


async def read_json(request: Request, kind: type[Body], *, characters: int) -> Body:
    """Return a request's body.

    In:       characters  how long the texts in it may be
    Raises:   Refusal if it is too large or comes too slowly; ConfigError with a JSON path if it is wrong
    """
    most = most_bytes(characters)
    body = bytearray()
    came = 0
    try:
        with anyio.fail_after(SENDING_S):
            async for part in request.stream():
                came += len(part)
                if came <= most:
                    body += part
                elif came > HEARD_BYTES:
                    break
    except TimeoutError:
        raise Refusal(408, f"the body did not come within {SENDING_S:g} s") from None
    except ClientDisconnect:
        raise Refusal(400, "the client left before it had sent its body") from None
    if came > most:
        raise Refusal(413, f"the body has more than {most:,} bytes")
    return validated(kind, parse_json(bytes(body), where="$"))
