"""Speak Wyoming, the protocol of Home Assistant: events over TCP, texts whole or while they are written."""

import asyncio
import logging
import secrets
import socket
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
from pydantic import ConfigDict

from voxstack.engine.lines import write_line
from voxstack.server.bodies import most_bytes
from voxstack.server.desk import Desk
from voxstack.server.dictating import LEFT, REFUSED, Dictated, LeftError, dictated, until_either
from voxstack.server.door import STALLED, Visit, refused
from voxstack.server.output_formats import pcm_as_made
from voxstack.server.refusals import Refusal, Stalled
from voxstack.server.wyoming_frames import HEADER_BYTES, Event, read_event, written
from voxstack.server.wyoming_voices import Wish, asked_of, info_of
from voxstack.stack.strict import StrictModel, validated

__all__ = ["WyomingServer"]

CONNECTIONS = 256
WAITING_EVENTS = 64
"""Events of a client that may wait until those before them are done; then he is not read."""

BETWEEN_S = 600.0
CLOSING_S = 2.0
SAMPLE_BYTES = 2


class Text(StrictModel):
    """The text of `synthesize` and `synthesize-chunk`."""

    model_config = ConfigDict(extra="ignore")

    text: str


class WyomingServer:
    """Listen on a socket until closed; used in one event loop."""

    def __init__(self, desk: Desk, listener: socket.socket) -> None:
        self._desk = desk
        self._listener = listener
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self._listener.getsockname()[:2]
        return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"

    @property
    def connections(self) -> int:
        """How many clients are there."""
        return len(self._tasks)

    async def open(self) -> None:
        """Let clients in."""
        self._server = await asyncio.start_server(self._serve, sock=self._listener, limit=HEADER_BYTES)

    async def close(self) -> None:
        """Let nobody in, and end all connections."""
        if self._server is None:
            self._listener.close()
            return
        self._server.close()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._tasks) >= CONNECTIONS:
            writer.transport.abort()
            return
        self._tasks.add(task)
        try:
            await Connection(self._desk, reader, writer).hold()
        finally:
            self._tasks.discard(task)


class Connection:
    """One client's."""

    def __init__(self, desk: Desk, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._desk = desk
        self._reader = reader
        self._writer = writer
        self._visit = Visit(secrets.token_hex(8))
        self._put, self._events = anyio.create_memory_object_stream[Event](WAITING_EVENTS)

    async def hold(self) -> None:
        """Answer what comes, until the client leaves, is silent, or says what cannot be understood."""
        visit = self._visit
        try:
            await until_either(self._read, self._talk)
        except LeftError:
            visit.outcome = LEFT if visit.outcome != "done" else "done"
        except Stalled:
            visit.outcome = STALLED
            self._writer.transport.abort()
        except asyncio.CancelledError:  # the server ends
            visit.outcome = "stopped"
        except Exception as error:  # noqa: BLE001 - the client is told, and the log
            visit.outcome = REFUSED if visit.outcome == "done" else visit.outcome
            await self._tell(refused(error, visit))
        finally:
            await self._close()

    async def _read(self) -> None:
        """Take what comes, also while something is spoken, so that a client who leaves is noticed."""
        most = most_bytes(self._desk.settings.max_characters)
        while (event := await read_event(self._reader, most_bytes=most)) is not None:
            await self._put.send(event)
        raise LeftError

    async def _talk(self) -> None:
        while (event := await self._next(BETWEEN_S)) is not None:
            if event.type == "synthesize":
                text = validated(Text, event.data).text
                await self._speak(event, partial(self._pass_whole, text), is_stream=False)
            elif event.type == "synthesize-start":
                await self._speak(event, self._pass_pieces, is_stream=True)

    async def _next(self, silent_s: float | None) -> Event | None:
        """Return the next event that has to do with speech; None if none comes for so long."""
        with anyio.move_on_after(silent_s):
            while True:
                event = await self._events.receive()
                if event.type == "describe":
                    await self._send(Event("info", info_of(self._desk)))
                elif event.type == "ping":
                    await self._send(Event("pong", {"text": event.data.get("text")}))
                else:
                    return event
        return None

    async def _speak(self, event: Event, listen: Any, *, is_stream: bool) -> None:
        asked = asked_of(validated(Wish, event.data), self._desk)
        async with dictated(self._desk, asked, pcm_as_made(), self._visit) as spoken:
            await until_either(partial(listen, spoken), partial(self._send_audio, spoken))
        if is_stream:
            await self._send(Event("synthesize-stopped"))

    async def _pass_whole(self, text: str, spoken: Dictated) -> None:
        await spoken.put(text)
        spoken.end()
        await anyio.sleep_forever()

    async def _pass_pieces(self, spoken: Dictated) -> None:
        """Pass on what is written until it ends.

        Clients send the whole text as well, in an event for servers that know no pieces; that is passed over.
        """
        silent_s = self._desk.settings.silent_s
        while True:
            event = await self._next(silent_s)
            if event is None:
                raise Refusal(408, f"nothing came for {silent_s:g} s", code="input_timeout_exceeded")
            if event.type == "synthesize-chunk":
                await spoken.put(validated(Text, event.data).text)
            elif event.type == "synthesize-stop":
                break
        spoken.end()
        await anyio.sleep_forever()

    async def _send_audio(self, spoken: Dictated) -> None:
        kind: dict[str, Any] = {}
        while (piece := await spoken.next()) is not None:
            if piece.audio is None:
                break
            if not kind:
                kind = {"rate": piece.audio.sample_rate, "width": SAMPLE_BYTES, "channels": 1}
                await self._send(Event("audio-start", kind))
            if piece.data:
                await self._send(Event("audio-chunk", kind, piece.data))
        await self._send(Event("audio-stop"))

    async def _send(self, event: Event) -> None:
        """Send an event when the connection has taken what came before; raise Stalled or LeftError."""
        stalled_s = self._desk.settings.stalled_s
        try:
            with anyio.fail_after(stalled_s):
                self._writer.write(written(event))
                await self._writer.drain()
        except TimeoutError:
            raise Stalled(stalled_s) from None
        except OSError:
            raise LeftError from None

    async def _tell(self, refusal: Refusal) -> None:
        self._desk.metrics.refusals.labels(refusal.code).inc()
        self._visit.status = refusal.status
        with suppress(LeftError, Stalled), anyio.move_on_after(CLOSING_S):
            await self._send(Event("error", {"text": refusal.message, "code": refusal.code}))

    async def _close(self) -> None:
        self._put.close()
        self._events.close()
        with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSING_S) as closing, suppress(OSError):
            self._writer.close()
            await self._writer.wait_closed()
        if closing.cancelled_caught:
            self._writer.transport.abort()
        address = self._writer.get_extra_info("peername")
        facts = {
            "id": self._visit.id,
            "outcome": self._visit.outcome,
            "took_s": round(self._visit.age_s, 4),
            "address": address[0] if address else "",
            **self._visit.facts,
        }
        write_line(logging.INFO, "wyoming", facts)
