"""Answer ElevenLabs' WebSocket `stream-input`: text while it is being written in, audio out."""

import base64
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import AliasChoices, ConfigDict, Field
from starlette.websockets import WebSocket

from voxstack.core.errors import RequestError
from voxstack.engine.marks import WHERE_KNOWN, Marks
from voxstack.server.aligning import Aligner
from voxstack.server.desk import Asked, Desk
from voxstack.server.dictating import Dictated, dictated, until_either
from voxstack.server.encoding import Format
from voxstack.server.output_formats import output_format
from voxstack.server.refusals import Refusal
from voxstack.server.sockets import Socket, socket_route
from voxstack.stack.strict import StrictModel, validated
from voxstack.stages.text.sentences import may_end

__all__ = ["stream_input_route"]

FORMAT = "mp3_44100_128"
SILENT_S, SHORTEST_SILENT_S, LONGEST_SILENT_S = 20.0, 1.0, 180.0
"""What ElevenLabs has for `inactivity_timeout`, and its bounds."""

MARKS: Marks = ("word", WHERE_KNOWN)

LOOKED_AT = 64
"""Characters at the end of the text by which one sees whether a sentence is over."""


class VoiceSettings(StrictModel):
    """What a voice is to sound like; what else ElevenLabs has there means nothing to these voices."""

    model_config = ConfigDict(extra="ignore")

    speed: float | None = Field(None, ge=0.25, le=4)


class Written(StrictModel):
    """A client's message: some text, or the end of it; `controls` is ours."""

    model_config = ConfigDict(extra="ignore")

    text: str | None = None
    flush: bool | None = None
    try_trigger_generation: bool | None = None
    voice_settings: VoiceSettings | None = None
    controls: dict[str, float | str] | None = None
    key: str | None = Field(None, validation_alias=AliasChoices("xi-api-key", "xi_api_key"))
    authorization: str | None = None

    @property
    def any_key(self) -> str | None:
        return self.key or (self.authorization or "").removeprefix("Bearer ") or None

    @property
    def is_end(self) -> bool:
        return self.text == ""

    @property
    def says_something(self) -> bool:
        return bool(self.text and not self.text.isspace())


@dataclass(frozen=True)
class Query:
    """What a client says in the address.

    is_auto  whether its messages are whole sentences
    """

    kind: Format
    silent_s: float = SILENT_S
    is_auto: bool = False
    seed: int | None = None

    @classmethod
    def of(cls, said: Mapping[str, str]) -> "Query":
        """Return it; raise RequestError."""
        silent_s = _number(said, "inactivity_timeout", SILENT_S)
        if not SHORTEST_SILENT_S <= silent_s <= LONGEST_SILENT_S:
            raise RequestError(
                f"got {silent_s:g}, want seconds from {SHORTEST_SILENT_S:g} to {LONGEST_SILENT_S:g}",
                where="inactivity_timeout",
            )
        try:
            kind = output_format(said.get("output_format", FORMAT))
        except RequestError as error:
            raise RequestError(error.what, where="output_format") from None
        seed = int(_number(said, "seed", 0)) if "seed" in said else None
        return cls(kind, silent_s, said.get("auto_mode", "false").lower() == "true", seed)


def stream_input_route(desk: Desk) -> Callable[[WebSocket], Awaitable[None]]:
    """Return what answers the route."""

    async def converse(socket: Socket) -> None:
        client = socket.let_in() if socket.is_known else None
        query = Query.of(socket.query)
        settings = VoiceSettings(speed=None)
        controls: dict[str, float | str] = {} if query.seed is None else {"seed": query.seed}
        is_first = True
        while True:
            message = await _next(socket, query.silent_s)
            if is_first:
                client = socket.let_in(message.any_key)
                desk.catalogue.find(socket.path["voice"])
            is_first = False
            settings = message.voice_settings or settings
            controls |= message.controls or {}
            if message.is_end:
                await socket.send({"isFinal": True})
                return
            if message.says_something:
                break
        asked = Asked(socket.path["voice"], "", settings.speed, controls, client, MARKS)
        async with dictated(desk, asked, query.kind, socket.visit) as spoken:
            await until_either(
                partial(_listen, socket, query, spoken, message), partial(_speak, socket, spoken)
            )

    return socket_route(desk, converse, _told)


async def _next(socket: Socket, silent_s: float | None) -> Written:
    return validated(Written, await socket.receive(silent_s))


async def _listen(socket: Socket, query: Query, spoken: Dictated, message: Written) -> None:
    """Pass on what is written, the first message first, until the client leaves."""
    tail = ""
    while not message.is_end:
        tail = (tail + (message.text or ""))[-LOOKED_AT:]
        await spoken.put(message.text or "")
        is_tried = message.try_trigger_generation or query.is_auto
        if message.flush or (is_tried and may_end(tail)):
            spoken.flush()
        message = await _next(socket, query.silent_s)
    spoken.end()
    while True:  # what is said after the end is heard by nobody, but who leaves is noticed
        await socket.receive(None)


async def _speak(socket: Socket, spoken: Dictated) -> None:
    aligner = Aligner()
    while (piece := await spoken.next()) is not None:
        alignment = aligner.take(piece, spoken.text)
        if piece.data or alignment is not None:
            said = {"audio": base64.b64encode(piece.data).decode(), "isFinal": None}
            await socket.send({**said, "alignment": alignment, "normalizedAlignment": alignment})
    await socket.send({"isFinal": True})


def _told(refusal: Refusal, code: int) -> dict[str, Any]:
    return {"message": refusal.message, "error": refusal.code, "code": code}


def _number(said: Mapping[str, str], name: str, otherwise: float) -> float:
    try:
        number = float(said.get(name, otherwise))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise RequestError(f"got '{said[name]}', want a number", where=name)
    return number
