"""Answer the plain WebSocket: requests one after another, each a text that is still being written."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from pydantic import Field
from starlette.websockets import WebSocket

from voxstack.core.errors import RequestError
from voxstack.engine.marks import Mark, MarkKind
from voxstack.server.desk import MOST_SEED, Asked, Desk, seeded
from voxstack.server.dictating import Dictated, dictated, until_either
from voxstack.server.encoding import Format
from voxstack.server.output_formats import output_format
from voxstack.server.refusals import Refusal
from voxstack.server.sockets import Socket, socket_route
from voxstack.stack.strict import StrictModel, validated

__all__ = ["speech_socket_route"]

BETWEEN_S = 600.0
"""How long a client may keep a socket between two requests."""


class Begun(StrictModel):
    """The message that begins a request."""

    voice: str
    controls: dict[str, float | str] = Field(default_factory=dict[str, float | str])
    speed: float | None = Field(None, ge=0.25, le=4)
    seed: int | None = Field(None, ge=0, le=MOST_SEED)
    format: str = "pcm"
    marks: tuple[MarkKind, ...] = ()
    key: str | None = None


class Written(StrictModel):
    """A message that goes on with it: text, and what is to be done when that is read."""

    text: str = ""
    flush: bool = False
    end: bool = False
    cancel: bool = False


def speech_socket_route(desk: Desk) -> Callable[[WebSocket], Awaitable[None]]:
    """Return what answers the route."""

    async def converse(socket: Socket) -> None:
        is_let_in = False
        while True:
            silent_s = desk.settings.silent_s if "requests" not in socket.visit.facts else BETWEEN_S
            begun = validated(Begun, await socket.receive(silent_s))
            if not is_let_in:
                socket.let_in(begun.key)
                is_let_in = True
            controls = seeded(begun.controls, begun.seed)
            asked = Asked(begun.voice, "", begun.speed, controls, socket.visit.client, begun.marks)
            kind = output_format(begun.format)
            async with dictated(desk, asked, kind, socket.visit) as spoken:
                await socket.send(_started(desk, spoken, kind))
                listen, speak = partial(_listen, socket, spoken), partial(_speak, socket, spoken)
                is_cancelled = await until_either(listen, speak) is listen
            if is_cancelled:
                await socket.send({"type": "cancelled", **_sums(spoken)})

    return socket_route(desk, converse, _told)


async def _listen(socket: Socket, spoken: Dictated) -> None:
    """Pass on what is written until the request is cancelled or the client leaves."""
    silent_s: float | None = socket.desk.settings.silent_s
    while True:
        message = validated(Written, await socket.receive(silent_s))
        if message.cancel:
            return
        if silent_s is None:
            raise RequestError("its text has ended; wait for 'done', or send {'cancel': true}", where="text")
        await spoken.put(message.text)
        if message.flush:
            spoken.flush()
        if message.end:
            spoken.end()
            silent_s = None


async def _speak(socket: Socket, spoken: Dictated) -> None:
    while (piece := await spoken.next()) is not None:
        for mark in piece.marks:
            await socket.send(_mark(mark))
        if piece.data:
            await socket.send(piece.data)
    await socket.send({"type": "done", **_sums(spoken)})


def _mark(mark: Mark) -> dict[str, Any]:
    """Return a mark's message: seconds into the request's audio, offsets in characters into its text."""
    lasts_s = None if mark.duration_s is None else round(mark.duration_s, 4)
    told = {"kind": mark.kind, "time_s": round(mark.time_s, 4), "duration_s": lasts_s}
    return {"type": "mark", **told, "start": mark.start, "end": mark.end, "value": mark.value}


def _sums(spoken: Dictated) -> dict[str, Any]:
    return {"audio_s": round(spoken.audio_s, 3), "characters": len(spoken.text)}


def _started(desk: Desk, spoken: Dictated, kind: Format) -> dict[str, Any]:
    rate = kind.rate(desk.catalogue.find(spoken.voice).sample_rate)
    facts = {"format": kind.name, "media_type": kind.media_type, "sample_rate": rate, "channels": 1}
    return {"type": "started", "voice": spoken.voice, **facts}


def _told(refusal: Refusal, code: int) -> dict[str, Any]:
    said = refusal.body["error"]
    # What is the input over HTTP is the text here.
    return {
        "type": "error",
        "error": {**said, "param": "text" if said["param"] == "input" else said["param"]},
    }
