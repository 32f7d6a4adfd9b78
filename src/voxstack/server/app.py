"""Put the protocols of a server together as one ASGI application."""

from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Route, Router, WebSocketRoute
from starlette.types import ASGIApp

from voxstack.server import looking, openai_models, operations
from voxstack.server.desk import Desk
from voxstack.server.door import Door
from voxstack.server.openai_speech import speech_route
from voxstack.server.openapi import openapi_route
from voxstack.server.speech_socket import speech_socket_route
from voxstack.server.stream_input import stream_input_route
from voxstack.server.web_page import page_routes

__all__ = ["make_app", "routes_of"]

CORS_HOURS_S = 7200


def routes_of(desk: Desk) -> list[BaseRoute]:
    """Return what programs ask, path by path; `openapi` describes each."""
    routes: list[BaseRoute] = [
        Route("/v1/audio/speech", speech_route(desk), methods=["POST"]),
        WebSocketRoute("/v1/audio/speech/stream", speech_socket_route(desk)),
        WebSocketRoute("/v1/text-to-speech/{voice}/stream-input", stream_input_route(desk)),
        Route("/v1/audio/voices", openai_models.voices_route(desk)),
        Route("/v1/models", openai_models.models_route(desk)),
        Route("/v1/models/{id:path}", openai_models.model_route(desk)),
        Route("/health", operations.health_route(desk)),
        Route("/ready", operations.ready_route(desk)),
        Route("/metrics", operations.metrics_route(desk)),
        Route("/status", operations.status_route(desk)),
        Route("/openapi.json", openapi_route(desk)),
    ]
    if desk.settings.page:
        routes += [
            Route("/v1/voices/{name}/stack.svg", looking.stack_route(desk)),
            Route("/v1/voices/{name}/trace", looking.trace_route(desk), methods=["POST"]),
        ]
    return routes


def make_app(desk: Desk) -> ASGIApp:
    """Return the application; whoever runs it loads the desk's voices."""
    page = page_routes() if desk.settings.page else {}
    routes = [*routes_of(desk), *(Route(path, answer) for path, answer in page.items())]
    app: ASGIApp = Door(Router(routes, redirect_slashes=False), desk)
    if desk.settings.cors_origins:
        app = CORSMiddleware(
            app,
            allow_origins=desk.settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["x-request-id", "retry-after"],
            max_age=CORS_HOURS_S,
        )
    return app
