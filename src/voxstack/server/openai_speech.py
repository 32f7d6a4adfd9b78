"""Answer POST /v1/audio/speech as OpenAI's API does: what may be asked, and what is refused."""

from collections.abc import Awaitable, Callable
from typing import Any, Literal

from pydantic import Field, field_validator
from starlette.requests import Request
from starlette.responses import Response

from voxstack.core.errors import suggest
from voxstack.engine.marks import MarkKind
from voxstack.server.bodies import read_json
from voxstack.server.desk import MOST_SEED, Asked, Desk, seeded
from voxstack.server.door import visit_of
from voxstack.server.encoding import FORMATS
from voxstack.server.refusals import Refusal
from voxstack.server.speech_answer import SpeechAnswer
from voxstack.stack.strict import StrictModel

__all__ = ["SpeechBody", "speech_route"]

MOST_INSTRUCTIONS = 4096


class VoiceId(StrictModel):
    """A voice, as clients name one that they made."""

    id: str


class SpeechBody(StrictModel):
    """The body of a request; `controls`, `seed` and `marks` are ours."""

    model: str
    input: str = Field(min_length=1)
    voice: str
    instructions: str | None = Field(None, max_length=MOST_INSTRUCTIONS)
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] | None = "mp3"
    speed: float | None = Field(None, ge=0.25, le=4)
    stream_format: Literal["audio", "sse"] | None = "audio"
    seed: int | None = Field(None, ge=0, le=MOST_SEED)
    controls: dict[str, float | str] | None = None
    marks: list[MarkKind] | None = None

    @field_validator("voice", mode="before", json_schema_input_type=str | VoiceId)
    @classmethod
    def _by_id(cls, voice: Any) -> Any:
        if isinstance(voice, dict):
            if set(voice) != {"id"}:
                raise ValueError('got an object, want a name or {"id": NAME}')
            return voice["id"]
        return voice


def speech_route(desk: Desk) -> Callable[[Request], Awaitable[Response]]:
    """Return what answers the route."""

    async def speech(request: Request) -> Response:
        visit = visit_of(request.scope)
        body = await read_json(request, SpeechBody, characters=desk.settings.max_characters)
        _check_model(body.model, desk)
        controls = seeded(body.controls or {}, body.seed)
        if "speed" in controls and body.speed is not None:
            raise Refusal(400, "speed is given twice, beside controls and in them", param="controls")
        is_sse = body.stream_format == "sse"
        if body.marks and not is_sse:
            raise Refusal(400, "marks come as events: they need stream_format 'sse'", param="marks")
        asked = Asked(
            body.voice,
            body.input,
            body.speed,
            controls,
            visit.client,
            tuple(body.marks or ()),
        )
        kind = FORMATS[body.response_format or "mp3"]
        return SpeechAnswer(desk, visit, asked, kind, is_sse=is_sse)

    return speech


def _check_model(model: str, desk: Desk) -> None:
    known = desk.settings.models
    if model not in known and model not in desk.catalogue.offers:
        raise Refusal(
            404, f"no model '{model}'{suggest(model, known)}", code="model_not_found", param="model"
        )
