"""Describe the HTTP API in OpenAPI 3.1, for programs that make clients of it or try it."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from voxstack import __version__
from voxstack.server.desk import Desk
from voxstack.server.encoding import FORMATS
from voxstack.server.looking import TraceBody
from voxstack.server.openai_speech import SpeechBody
from voxstack.server.openapi_schemas import (
    COUNT,
    ERROR,
    MODEL,
    STATUS,
    TEXT,
    VOICE,
    Schema,
    a_list,
    a_ref,
    a_word,
    an_object,
)

__all__ = ["described", "openapi_route"]


def openapi_route(desk: Desk) -> Callable[[Request], Awaitable[Response]]:
    """Return what answers /openapi.json."""

    async def openapi(request: Request) -> Response:
        return JSONResponse(described(desk))

    return openapi


def described(desk: Desk) -> dict[str, Any]:
    """Return the description of what a desk is asked over HTTP; sockets are no part of OpenAPI."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "voxstack",
            "version": __version__,
            "description": "Speech as OpenAI's API makes it, and what operators ask.",
        },
        "security": [{}, {"bearer": []}, {"header": []}]
        if desk.keys is None
        else [{"bearer": []}, {"header": []}],
        "paths": {
            "/v1/audio/speech": {"post": _speech()},
            "/v1/audio/voices": {
                "get": _got("voices", "The voices that are offered", an_object(voices=a_list("Voice")))
            },
            "/v1/models": {
                "get": _got(
                    "models", "What `model` may be", an_object(object=a_word("list"), data=a_list("Model"))
                )
            },
            "/v1/models/{id}": {"get": _model()},
            "/health": {
                "get": _got("health", "Whether the process is up", an_object(status=a_word("up")), key=False)
            },
            "/ready": {"get": _ready()},
            "/metrics": {"get": _got("metrics", "Figures in Prometheus's format", TEXT, kind="text/plain")},
            "/status": {"get": _got("status", "Voices, and what is at work", a_ref("Status"))},
            "/openapi.json": {"get": _got("openapi", "This description", {"type": "object"})},
            **(LOOKING if desk.settings.page else {}),
        },
        "components": {
            "schemas": {
                **_bodies(desk),
                "Voice": VOICE,
                "Model": MODEL,
                "Status": STATUS,
                "Error": ERROR,
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "xi-api-key"},
            },
        },
    }


REFUSALS = {
    400: "A key, a value, a voice or a text cannot be served",
    401: "No key, or one that is not known",
    404: "No such model",
    408: "The body did not come in time",
    413: "The body is too large",
    429: "Too many at once, or the key's characters are used up",
    500: "A fault of voxstack's",
    503: "The server is ending, or the voice does not load",
    504: "The time limit came before the first audio",
}


def _refusals(*statuses: int) -> dict[str, Any]:
    return {
        str(status): {
            "description": REFUSALS[status],
            "content": {"application/json": {"schema": a_ref("Error")}},
            **({"headers": {"Retry-After": {"schema": TEXT}}} if status == 429 else {}),
        }
        for status in statuses
    }


def _got(
    name: str, summary: str, schema: Schema, *, kind: str = "application/json", key: bool = True
) -> dict[str, Any]:
    """Return the description of a GET; `key`: whether a server that has keys wants one."""
    return {
        "operationId": name,
        "summary": summary,
        **({} if key else {"security": []}),
        "responses": {
            "200": {"description": summary, "content": {kind: {"schema": schema}}},
            **(_refusals(401) if key else {}),
        },
    }


def _ready() -> dict[str, Any]:
    schema = an_object({"faults": COUNT}, status=a_word("ready", "loading", "draining", "without voices"))
    found = _got("ready", "Whether requests are taken, and find their voices warm", schema, key=False)
    not_now = {"description": "Not now", "content": {"application/json": {"schema": schema}}}
    return {**found, "responses": {**found["responses"], "503": not_now}}


def _model() -> dict[str, Any]:
    found = _got("model", "One model", a_ref("Model"))
    return {
        **found,
        "parameters": [{"name": "id", "in": "path", "required": True, "schema": TEXT}],
        "responses": {**found["responses"], **_refusals(404)},
    }


def _looking(name: str, summary: str, schema: Schema, *refusals: int, kind: str) -> dict[str, Any]:
    found = _got(name, summary, schema, kind=kind)
    return {
        **found,
        "parameters": [{"name": "name", "in": "path", "required": True, "schema": TEXT}],
        "responses": {**found["responses"], **_refusals(400, 503, *refusals)},
    }


LOOKING = {
    "/v1/voices/{name}/stack.svg": {
        "get": _looking("stack", "A voice's stack as a picture", TEXT, kind="image/svg+xml")
    },
    "/v1/voices/{name}/trace": {
        "post": {
            **_looking(
                "trace",
                "When each block worked for a text, as a Chrome trace",
                {"type": "object"},
                *(408, 413, 429, 500, 504),
                kind="application/json",
            ),
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": TraceBody.model_json_schema()}},
            },
        }
    },
}


def _speech() -> dict[str, Any]:
    kinds = {kind.media_type for kind in FORMATS.values()}
    return {
        "operationId": "speech",
        "summary": "Audio of a text, while it is made",
        "requestBody": {"required": True, "content": {"application/json": {"schema": a_ref("Speech")}}},
        "responses": {
            "200": {
                "description": "Audio, or with `stream_format` `sse` events that hold it in base64",
                "content": {kind: {} for kind in [*sorted(kinds), "text/event-stream"]},
            },
            **_refusals(*REFUSALS),
        },
    }


def _bodies(desk: Desk) -> dict[str, Schema]:
    """Return the schema of what asks for speech: the model's own, what only this server knows, its parts."""
    found = SpeechBody.model_json_schema(ref_template="#/components/schemas/{model}")
    keys = found["properties"]
    keys["input"]["maxLength"] = desk.settings.max_characters
    keys["model"]["examples"] = list(desk.settings.models)
    keys["voice"]["examples"] = [*desk.catalogue.offers, *desk.settings.aliases]
    return {**found.pop("$defs"), "Speech": found}
