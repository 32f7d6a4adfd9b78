"""Tell operators whether a server is up, ready, and how it fares."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from voxstack import __version__
from voxstack.server.desk import Desk

__all__ = ["health_route", "metrics_route", "ready_route", "status_route"]

Answer = Callable[[Request], Awaitable[Response]]

METRICS_TYPE = "text/plain; version=1.0.0; charset=utf-8"


def health_route(desk: Desk) -> Answer:
    """Return what answers /health: the process is up."""

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "up"})

    return health


def ready_route(desk: Desk) -> Answer:
    """Return what answers /ready: 200 when new requests are taken and find their voices warm.

    It needs no key, so it says how many addons have faults, not which.
    """

    async def ready(request: Request) -> Response:
        idle = "ready" if desk.is_ready else "without voices" if desk.is_loaded else "loading"
        status = "draining" if desk.is_draining else idle
        faults = len(desk.upkeep.faults)
        said = {"status": status, **({"faults": faults} if faults else {})}
        return JSONResponse(said, 200 if desk.is_ready else 503)

    return ready


def metrics_route(desk: Desk) -> Answer:
    """Return what answers /metrics."""

    async def metrics(request: Request) -> Response:
        return Response(desk.metrics.text(), media_type=METRICS_TYPE)

    return metrics


def status_route(desk: Desk) -> Answer:
    """Return what answers /status: the voices, and what is at work."""

    async def status(request: Request) -> Response:
        service = desk.service
        states = service.voices.states()
        return JSONResponse(
            {
                "version": __version__,
                "is_ready": desk.is_ready,
                "is_draining": desk.is_draining,
                "streams": service.at_work,
                "most_streams": service.admission.streams,
                "queued_characters": service.admission.queued,
                "nets_bytes": service.voices.in_use_bytes,
                "voices": [
                    {
                        "name": state.name,
                        "state": state.state,
                        "leases": state.leases,
                        "bytes": state.bytes,
                        "idle_s": round(state.idle_s, 1),
                        "profile": state.profile,
                        "why": state.why,
                        **desk.recordings.of(state.name),
                    }
                    for state in states
                ],
                "faults": desk.upkeep.faults,
            }
        )

    return status
