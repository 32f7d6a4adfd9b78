"""Speak a text that its client is still writing: pieces go in, encoded audio comes out."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import anyio
import numpy as np
from anyio import to_thread

from voxstack.core.errors import RequestError
from voxstack.core.text import FLUSH
from voxstack.engine.audio import Audio
from voxstack.engine.dictation import Dictation
from voxstack.engine.marks import Mark
from voxstack.server.desk import Asked, Desk
from voxstack.server.door import BROKE_OFF, STALLED, Visit
from voxstack.server.encoding import Encoder, Format, open_encoder
from voxstack.server.hearing import Hearing, News, later
from voxstack.server.refusals import Stalled

__all__ = ["LEFT", "REFUSED", "Dictated", "LeftError", "Piece", "dictated", "until_either"]

CANCELLED = "cancelled"
LEFT = "left"
REFUSED = "refused"
"""How a request may end that was not spoken to its end, beside those of the door."""

QUIET_S = 0.05
"""How long a speech waits for its text before its listener gets what the encoder still holds."""

PADDING_S = 0.12
"""Silence that pushes it out, as often as it takes; mostly more than a frame and what a codec looks ahead."""

HEARD_S = 0.0005
"""What lacks less than this lacks nothing: the rest of a sample where the rate is another."""


class LeftError(Exception):
    """The client is gone; nobody is to be told."""


@dataclass(frozen=True)
class Piece:
    """Encoded audio, and of what; None: the rest of all before.

    begin_s  where in all that is decoded its data begins
    made_s   where in that the speech ends that was made by then
    """

    data: bytes
    audio: Audio | None
    begin_s: float
    made_s: float

    @property
    def marks(self) -> tuple[Mark, ...]:
        """What begins in it, at times of what is decoded."""
        return () if self.audio is None else self.audio.marks


class Dictated:
    """One request whose text is still being written; close it, however far it came.

    In:       asked  what is wanted; its text is what `put` brings
    Raises:   from `begin`, `put` and `next`, Refusal or what the engine raises
    """

    def __init__(self, desk: Desk, asked: Asked, kind: Format) -> None:
        self.kind = kind
        self.text = ""
        self.audio_s = 0.0
        self.voice = desk.catalogue.find(asked.voice).name
        self._desk = desk
        self._text = Dictation()
        self._asked = asked
        self._read = News()
        self._text.tell(self._read.bring)
        self._hearing: Hearing | None = None
        self._encoder: Encoder | None = None
        self._is_over = False
        self._rate: int | None = None
        self._spoken_s = 0.0
        self._padded_s = 0.0
        desk.in_flight += 1

    async def begin(self) -> None:
        """Be let in, and begin to speak what there is."""
        self._hearing = await self._desk.speak(self._asked, self._text)

    async def put(self, text: str) -> None:
        """Add a piece of the text; wait while there is too much that is not spoken yet."""
        self._desk.take_piece(text, len(self.text), self._asked.client)
        self.text += text
        self._text.put(text)
        self._read.clear()
        while self._text.is_full:
            await self._read.wait()
            self._read.clear()

    def flush(self) -> None:
        """Speak all there is by now, the beginning of a sentence too."""
        self._text.put(FLUSH)

    def end(self) -> None:
        """Say that the text is written."""
        self._text.end()

    @property
    def is_over(self) -> bool:
        """Whether all of it was given."""
        return self._is_over

    async def next(self) -> Piece | None:
        """Return what is to be sent next, None after the last."""
        if self._is_over:
            return None
        piece = await self._next()
        self._desk.metrics.audio_bytes.labels(self.voice, self.kind.name).inc(len(piece.data))
        return piece

    async def _next(self) -> Piece:
        assert self._hearing is not None
        if self._is_held() and await self._hearing.is_quiet(QUIET_S):
            return await self._pad()
        chunk = await self._hearing.next()
        if chunk is None:
            self._is_over = True
            if self._encoder is None:
                raise RequestError("there is nothing in it that this voice can speak", where="text")
            return await self._piece(None, self._encoder.end)
        if self._encoder is None:
            self._rate = chunk.sample_rate
            self._encoder = open_encoder(self.kind, chunk.sample_rate)
        late_s = self._encoder.delay_s + self._padded_s
        chunk = replace(chunk, marks=tuple(later(mark, late_s) for mark in chunk.marks))
        self._spoken_s = self.audio_s + chunk.duration_s
        return await self._encoded(chunk)

    def _is_held(self) -> bool:
        """Answer whether the encoder still has some of the speech that it was given."""
        if self._encoder is None:
            return False
        return self._encoder.decoded_s < self._encoder.delay_s + self._spoken_s - HEARD_S

    async def _pad(self) -> Piece:
        """Return what an encoder holds back of a speech that waits for its text, which may take long."""
        self._padded_s += PADDING_S
        assert self._rate is not None
        return await self._encoded(Audio(np.zeros(round(PADDING_S * self._rate), np.float32), self._rate))

    async def _encoded(self, audio: Audio) -> Piece:
        assert self._encoder is not None
        self.audio_s += audio.duration_s
        return await self._piece(audio, self._encoder.write, audio.samples)

    async def _piece(self, audio: Audio | None, work: Callable[..., bytes], *given: Any) -> Piece:
        assert self._encoder is not None
        begin_s, made_s = self._encoder.decoded_s, self._encoder.delay_s + self.audio_s
        return Piece(await self._run(work, *given), audio, begin_s, made_s)

    async def close(self) -> None:
        """Stop all work for it at once; safe twice."""
        self._text.close()
        try:
            if self._hearing is not None:
                await self._hearing.close()
        finally:
            if self._encoder is not None:
                self._encoder.close()
            self._desk.in_flight -= 1

    async def _run(self, work: Callable[..., bytes], *given: Any) -> bytes:
        """Encode; in a thread where it takes long enough for others to notice."""
        if self.kind.is_heavy:
            return await to_thread.run_sync(work, *given)
        return work(*given)


@asynccontextmanager
async def dictated(desk: Desk, asked: Asked, kind: Format, visit: Visit) -> AsyncGenerator[Dictated, None]:
    """Begin a request, close it in the end, and write down how it went."""
    spoken = Dictated(desk, asked, kind)
    reason = REFUSED
    try:
        await spoken.begin()
        visit.outcome = reason = BROKE_OFF
        yield spoken
        visit.outcome, reason = "done", CANCELLED
    except LeftError:
        reason = LEFT
        raise
    except Stalled:
        reason = STALLED
        raise
    finally:
        with anyio.CancelScope(shield=True):
            await spoken.close()
        if reason != REFUSED and not spoken.is_over:
            desk.metrics.cancellations.labels(spoken.voice, reason).inc()
        visit.facts |= {
            "voice": spoken.voice,
            "format": kind.name,
            "requests": int(visit.facts.get("requests", 0)) + 1,
            "characters": int(visit.facts.get("characters", 0)) + len(spoken.text),
            "audio_s": round(float(visit.facts.get("audio_s", 0.0)) + spoken.audio_s, 3),
        }


Work = Callable[[], Awaitable[None]]


async def until_either(*works: Work) -> Work:
    """Do several things at once until one has ended, and stop the others.

    Return the one; raise what went wrong first.
    """
    ended: list[Work] = []
    failed: list[Exception] = []
    async with anyio.create_task_group() as group:

        async def do(work: Work) -> None:
            try:
                await work()
                ended.append(work)
            except Exception as error:  # noqa: BLE001 - raised below, without the group around it
                failed.append(error)
            group.cancel_scope.cancel()

        for work in works:
            group.start_soon(do, work)
    if failed:
        raise failed[0]
    return ended[0]
