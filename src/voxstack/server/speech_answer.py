"""Send speech as OpenAI's API does, as plain audio or as events, while it is being made."""

import base64
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import anyio
from anyio import to_thread
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from voxstack.engine.audio import Audio
from voxstack.engine.marks import Mark
from voxstack.server.desk import Asked, Desk
from voxstack.server.door import BROKE_OFF, FAILED, STALLED, Visit
from voxstack.server.encoding import Encoder, Format, open_encoder
from voxstack.server.hearing import Hearing, later
from voxstack.server.refusals import Refusal, Stalled, refusal_of

__all__ = ["SpeechAnswer"]

OUTPUT_TOKENS_PER_S = 20
"""What `usage` counts of audio; of text it counts characters."""


class SpeechAnswer(Response):
    """Audio as it is made: the next chunk is taken when the connection has taken the last."""

    def __init__(self, desk: Desk, visit: Visit, asked: Asked, kind: Format, *, is_sse: bool) -> None:
        self._desk = desk
        self._visit = visit
        self._asked = asked
        self._kind = kind
        self._is_sse = is_sse
        self._labels = ("", kind.name)
        self._gave_s: float | None = None
        self._samples = 0
        self._rate = 1
        self._bytes = 0
        self._is_given = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Speak until the end, or until the client has left."""
        failed: list[Exception] = []
        async with anyio.create_task_group() as group:

            async def until_left() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                if not self._is_given:  # else it is told that all was sent
                    self._visit.outcome = "left"
                group.cancel_scope.cancel()

            group.start_soon(until_left)
            try:
                await self._speak(send)
            except Exception as error:  # noqa: BLE001 - raised below, without the group around it
                failed.append(error)
            group.cancel_scope.cancel()
        self._note(failed)
        if failed:
            raise failed[0]

    async def _speak(self, send: Send) -> None:
        offer = self._desk.catalogue.find(self._asked.voice)
        self._labels = (offer.name, self._kind.name)
        self._visit.facts |= {
            "voice": offer.name,
            "format": self._kind.name,
            "characters": len(self._asked.text),
        }
        hearing = await self._desk.speak(self._asked)
        try:
            first = await hearing.next()
            if first is None:
                raise Refusal(400, "there is nothing in it that this voice can speak", param="input")
            encoder = open_encoder(self._kind, first.sample_rate)
            try:
                await self._send_all(first, hearing, encoder, send)
            finally:
                encoder.close()
        finally:
            await hearing.close()

    async def _send_all(self, first: Audio, hearing: Hearing, encoder: Encoder, send: Send) -> None:
        self._rate = first.sample_rate
        data = await self._run(encoder.write, first.samples)
        self._samples += len(first.samples)
        await send({"type": "http.response.start", "status": 200, "headers": self._head(first.sample_rate)})
        await self._tell(first.marks, encoder, send)
        await self._give(data, send)
        try:
            while (chunk := await hearing.next()) is not None:
                self._samples += len(chunk.samples)
                await self._tell(chunk.marks, encoder, send)
                await self._give(await self._run(encoder.write, chunk.samples), send)
            await self._give(await self._run(encoder.end), send)
            if self._is_sse:
                await self._send_body(_event({"type": "speech.audio.done", "usage": self._usage()}), send)
        except Exception as error:
            if not self._is_sse or isinstance(error, Stalled):
                raise
            await self._send_body(
                _event({"type": "error", **refusal_of(error, request=self._visit.id).body}), send
            )
            self._visit.outcome = FAILED
        self._is_given = True
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _head(self, sample_rate: int) -> list[tuple[bytes, bytes]]:
        kind = "text/event-stream; charset=utf-8" if self._is_sse else self._kind.media_type
        if self._kind.name == "pcm" and not self._is_sse:
            kind = f"{kind}; rate={self._kind.rate(sample_rate)}; channels=1"
        return [(b"content-type", kind.encode()), (b"cache-control", b"no-store")]

    async def _tell(self, marks: Sequence[Mark], encoder: Encoder, send: Send) -> None:
        """Send marks before the audio in which they begin; OpenAI's API has no such event."""
        events = b"".join(_event(_mark_event(later(mark, encoder.delay_s))) for mark in marks)
        if events:
            await self._send_body(events, send)

    async def _give(self, data: bytes, send: Send) -> None:
        """Send encoded audio, if there is any, and count it."""
        if not data:
            return
        self._bytes += len(data)
        sent = data
        if self._is_sse:
            sent = _event({"type": "speech.audio.delta", "audio": base64.b64encode(data).decode()})
        await self._send_body(sent, send)
        now = time.monotonic()
        metrics = self._desk.metrics
        if self._gave_s is None:
            self._visit.facts["first_audio_s"] = round(self._visit.age_s, 4)
            metrics.first_audio.labels(*self._labels).observe(self._visit.age_s)
        else:
            metrics.chunk_gap.labels(*self._labels).observe(now - self._gave_s)
        metrics.audio_bytes.labels(*self._labels).inc(len(data))
        self._gave_s = now

    async def _send_body(self, data: bytes, send: Send) -> None:
        await send({"type": "http.response.body", "body": data, "more_body": True})

    async def _run(self, work: Callable[..., Any], *given: Any) -> Any:
        """Encode; in a thread where it takes long enough for others to notice."""
        if self._kind.is_heavy:
            return await to_thread.run_sync(work, *given)
        return work(*given)

    def _usage(self) -> dict[str, int]:
        said, made = len(self._asked.text), round(self._samples / self._rate * OUTPUT_TOKENS_PER_S)
        return {"input_tokens": said, "output_tokens": made, "total_tokens": said + made}

    def _note(self, failed: Sequence[Exception]) -> None:
        """Write down how it ended."""
        facts = self._visit.facts
        facts["audio_s"] = round(self._samples / self._rate, 3)
        facts["bytes"] = self._bytes
        reason = self._visit.outcome
        if failed and self._visit.status:
            reason = STALLED if isinstance(failed[0], Stalled) else BROKE_OFF
        if reason != "done":
            self._desk.metrics.cancellations.labels(self._labels[0], reason).inc()


def _mark_event(mark: Mark) -> dict[str, Any]:
    """Return a mark as an event; offsets count characters of `input`."""
    return {
        "type": "speech.audio.mark",
        "kind": mark.kind,
        "time_ms": round(mark.time_s * 1000, 1),
        "duration_ms": None if mark.duration_s is None else round(mark.duration_s * 1000, 1),
        "start": mark.start,
        "end": mark.end,
        "value": mark.value,
    }


def _event(data: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()
