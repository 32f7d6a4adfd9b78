"""Show what is inside a voice that is served: its stack as a picture, and when each block works."""

import weakref
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
from anyio import to_thread
from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from voxstack.core.cancel import CancelScope
from voxstack.core.errors import Cancelled, DeadlineError
from voxstack.engine.loading import Loaded
from voxstack.engine.times import times
from voxstack.engine.tracing import chrome_trace
from voxstack.engine.voices import Voices
from voxstack.engine.watching import Watcher
from voxstack.server.bodies import read_json
from voxstack.server.desk import Desk, paced
from voxstack.server.door import visit_of
from voxstack.server.refusals import Refusal
from voxstack.stack.describe import rows
from voxstack.stack.graph import graph_of
from voxstack.stack.picture import svg
from voxstack.stack.strict import StrictModel

__all__ = ["TraceBody", "stack_route", "trace_route"]

Answer = Callable[[Request], Awaitable[Response]]

MOST_CHARACTERS = 1000
MOST_S = 30.0
"""How long a text may be traced, and how many characters it may have: nobody hears it."""

AT_A_TIME = 1
"""Pictures, and traces; others wait, so that looking never slows down who listens by more than one."""


class TraceBody(StrictModel):
    """The body of a request for a trace: as one for speech."""

    input: str = Field(min_length=1)
    speed: float | None = Field(None, ge=0.25, le=4)
    seed: int | None = None
    controls: dict[str, float | str] | None = None


def stack_route(desk: Desk) -> Answer:
    """Return what answers /v1/voices/{name}/stack.svg."""
    drawn: dict[str, tuple[weakref.ref[Loaded], str]] = {}
    limiter = anyio.CapacityLimiter(AT_A_TIME)

    def draw(name: str) -> str:
        with desk.service.voices.lease(name) as voice:
            known = drawn.get(name)
            if known is not None and known[0]() is voice.loaded:
                return known[1]
            picture = picture_of(voice.loaded)
            drawn[name] = weakref.ref(voice.loaded), picture
            return picture

    async def stack(request: Request) -> Response:
        offer = desk.catalogue.find(request.path_params["name"])
        picture = await to_thread.run_sync(draw, offer.name, limiter=limiter)
        return Response(picture, media_type="image/svg+xml", headers={"cache-control": "no-cache"})

    return stack


def picture_of(loaded: Loaded) -> str:
    """Return a voice's stack as `voxstack inspect --graph` draws it."""
    addon = loaded.addon
    described = rows(loaded.wired)
    return svg(graph_of(addon.name, loaded.wired, described, request=addon.request, source=addon.source))


def trace_route(desk: Desk) -> Answer:
    """Return what answers /v1/voices/{name}/trace: a Chrome trace of a text, spoken for nobody."""
    limiter = anyio.CapacityLimiter(AT_A_TIME)

    async def trace(request: Request) -> Response:
        offer = desk.catalogue.find(request.path_params["name"])
        body = await read_json(request, TraceBody, characters=desk.settings.max_characters)
        if len(body.input) > MOST_CHARACTERS:
            raise Refusal(
                400,
                f"got {len(body.input):,} characters, at most {MOST_CHARACTERS:,} are traced",
                code="string_above_max_length",
                param="input",
            )
        own, _ = paced(offer, body.speed)
        controls = {
            **(body.controls or {}),
            **({} if own is None else {"speed": own}),
            **({} if body.seed is None else {"seed": body.seed}),
        }
        service, client = desk.service, visit_of(request.scope).client
        scope = CancelScope()

        def work() -> dict[str, Any]:
            with service.admission.admit(len(body.input), client=client), scope.active():
                try:
                    return traced(service.voices, offer.name, body.input, controls)
                except Cancelled as error:
                    raise scope.why or error from None

        return JSONResponse(await _until_left(request, scope, work, limiter))

    return trace


def traced(voices: Voices, name: str, text: str, controls: Mapping[str, float | str]) -> dict[str, Any]:
    """Return a Chrome trace of a text; the nets are those in memory, and others may use them meanwhile.

    Raises:   as `Voice.answer`
    """
    watcher = Watcher()
    with voices.lease(name):
        voice = voices.watched(name, watcher)
        with watcher.recording() as seen:
            chunks = seen.chunks(voice.answer(text, controls, is_stream=True))
            samples = sum(len(chunk.samples) for chunk in chunks)
        spent = times(seen, watcher.lanes)
        about = {
            "voice": name,
            "profile": voice.loaded.profile,
            "text": text,
            "audio_s": round(samples / voice.sample_rate, 4),
            "first_audio_ms": round(spent.first_audio_ms, 2),
            "wall_ms": round(spent.wall_ms, 2),
        }
        return chrome_trace(seen, watcher.lanes, title=f"voxstack trace {name}", about=about)


async def _until_left(
    request: Request, scope: CancelScope, work: Callable[[], Any], limiter: anyio.CapacityLimiter
) -> Any:
    """Return what work in a thread returns; stop it when the client leaves, or after too long."""
    failed: list[Exception] = []
    result: Any = None
    async with anyio.create_task_group() as group:

        async def until_left() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            scope.cancel(Refusal(400, "the client left before its trace was made"))

        async def until_late() -> None:
            await anyio.sleep(MOST_S)
            scope.cancel(DeadlineError(f"the trace was not over within {MOST_S:g} s"))

        group.start_soon(until_left)
        group.start_soon(until_late)
        try:
            result = await to_thread.run_sync(work, limiter=limiter)
        except Exception as error:  # noqa: BLE001 - raised below, without the group around it
            failed.append(error)
        group.cancel_scope.cancel()
    if failed:
        raise failed[0]
    return result
