"""List models and voices as clients of OpenAI's API ask for them."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from voxstack.core.errors import suggest
from voxstack.server.desk import Desk
from voxstack.server.refusals import Refusal

__all__ = ["model_route", "models_route", "voices_route"]

Answer = Callable[[Request], Awaitable[Response]]

CREATED = 1_767_225_600
"""Since when there are models, in seconds of Unix time: clients want a number, and it must not change."""


def models_route(desk: Desk) -> Answer:
    """Return what answers /v1/models."""

    async def models(request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [_model(name) for name in desk.settings.models]})

    return models


def model_route(desk: Desk) -> Answer:
    """Return what answers /v1/models/{id}."""

    async def model(request: Request) -> Response:
        name = request.path_params["id"]
        if name not in desk.settings.models:
            known = suggest(name, desk.settings.models)
            raise Refusal(404, f"no model '{name}'{known}", code="model_not_found", param="model")
        return JSONResponse(_model(name))

    return model


def voices_route(desk: Desk) -> Answer:
    """Return what answers /v1/audio/voices."""

    async def voices(request: Request) -> Response:
        return JSONResponse({"voices": desk.catalogue.rows(desk.service.voices.states())})

    return voices


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "voxstack"}
