"""Read and write Wyoming's events: a line of JSON, more JSON, and bytes; none larger than is sensible."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import anyio

from voxstack import __version__
from voxstack.server.refusals import Refusal
from voxstack.stack.strict import parse_json

__all__ = ["HEADER_BYTES", "Event", "read_event", "written"]

HEADER_BYTES = 65_536
PAYLOAD_BYTES = 1_000_000
"""Nobody sends audio to voices; what comes is passed over."""

ARRIVING_S = 20.0
"""How long an event may take from its first byte to its last."""


@dataclass(frozen=True)
class Event:
    """What one side says to the other; `payload` is audio."""

    type: str
    data: dict[str, Any] = field(default_factory=dict[str, Any])
    payload: bytes = b""


async def read_event(reader: asyncio.StreamReader, *, most_bytes: int) -> Event | None:
    """Return the next event without its payload, None at the end of all.

    In:       reader      whose limit is HEADER_BYTES
              most_bytes  how long an event's data may be
    Raises:   Refusal or ConfigError if it is no event, too large, or comes too slowly
    """
    try:
        if not (first := await reader.read(1)):
            return None
        with anyio.fail_after(ARRIVING_S):
            return await _rest(first, reader, most_bytes)
    except TimeoutError:
        raise Refusal(408, f"the event did not come within {ARRIVING_S:g} s") from None
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


async def _rest(first: bytes, reader: asyncio.StreamReader, most_bytes: int) -> Event:
    if first == b"\n":
        raise Refusal(400, "got an empty line, want an event's header: a line with a JSON object")
    try:
        header = _object(first + await reader.readuntil(b"\n"), "$")
    except asyncio.LimitOverrunError:
        raise Refusal(413, f"the event's header has more than {HEADER_BYTES:,} bytes") from None
    kind = header.get("type")
    if not isinstance(kind, str):
        raise Refusal(400, f"got {kind!r:.40} as the event's type, want a string")
    data = header.get("data") or {}
    if not isinstance(data, dict):
        raise Refusal(400, "the event's data are no object")
    if length := _length(header, "data_length", most_bytes):
        data = {**data, **_object(await reader.readexactly(length), "$.data")}
    left = _length(header, "payload_length", PAYLOAD_BYTES)
    while left:
        left -= len(await reader.readexactly(min(left, HEADER_BYTES)))
    return Event(kind, data)


def written(event: Event) -> bytes:
    """Return an event as bytes."""
    data = json.dumps(event.data).encode() if event.data else b""
    header: dict[str, Any] = {"type": event.type, "version": __version__}
    if data:
        header["data_length"] = len(data)
    if event.payload:
        header["payload_length"] = len(event.payload)
    return json.dumps(header).encode() + b"\n" + data + event.payload


def _object(text: bytes, where: str) -> dict[str, Any]:
    found = parse_json(text, where=where)
    if not isinstance(found, dict):
        raise Refusal(400, f"got a {type(found).__name__}, want a JSON object in each event")
    return found


def _length(header: dict[str, Any], name: str, most: int) -> int:
    length = header.get(name) or 0
    if type(length) is not int or length < 0:
        raise Refusal(400, f"got {length!r:.40} as {name}, want a whole number from 0")
    if length > most:
        raise Refusal(413, f"got {length:,} as {name}, at most {most:,} are taken")
    return length
