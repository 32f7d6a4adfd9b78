"""Wyoming's own client hears voices, whole texts and written ones, and nobody's mistake hurts another."""

import asyncio
import json
import socket
import struct

import numpy as np
import pytest
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong
from wyoming.tts import (
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    SynthesizeStopped,
    SynthesizeVoice,
)

pytestmark = pytest.mark.end_to_end

PATIENCE_S = 20
RATE = 16_000


@pytest.fixture(scope="module")
def wyoming(serve_for_module):
    return serve_for_module(wyoming_port=0)


def address_of(served) -> tuple[str, int]:
    host, port = served.server.wyoming.url.removeprefix("tcp://").rsplit(":", 1)
    return host, int(port)


def talk(served, conversation):
    """Return what a conversation of Wyoming's client with the server returns."""

    async def run():
        async with AsyncTcpClient(*address_of(served), read_timeout=PATIENCE_S) as client:
            return await conversation(client)

    return asyncio.run(run())


async def heard(client, until) -> list[Event]:
    """Return the events up to one of a type."""
    events = []
    while True:
        event = await client.read_event()
        assert event is not None, [event.type for event in events]
        events.append(event)
        if event.type == until:
            return events


def samples_of(events) -> np.ndarray:
    chunks = [AudioChunk.from_event(event) for event in events if AudioChunk.is_type(event.type)]
    assert all((chunk.rate, chunk.width, chunk.channels) == (RATE, 2, 1) for chunk in chunks)
    return np.frombuffer(b"".join(chunk.audio for chunk in chunks), "<i2")


def said(served, text, **controls) -> np.ndarray:
    return served.service.say("tone", text, **controls).samples


def is_same(samples, wanted) -> bool:
    return len(samples) == len(wanted) and np.abs(samples / 32767 - wanted).max() < 2 / 32767


def test_the_info_tells_of_all_voices(wyoming):
    async def ask(client):
        await client.write_event(Describe().event())
        return Info.from_event(await client.read_event())

    [program] = talk(wyoming, ask).tts
    assert (program.name, program.installed, program.supports_synthesize_streaming) == (
        "voxstack",
        True,
        True,
    )
    assert {voice.name: voice.languages for voice in program.voices} == {
        "quiet": ["x-tone"],
        "tone": ["x-tone"],
    }


def test_a_whole_text_sounds_as_in_process(wyoming):
    async def ask(client):
        await client.write_event(Synthesize("Bad cab. Abc.", SynthesizeVoice("tone")).event())
        return await heard(client, "audio-stop")

    events = talk(wyoming, ask)
    assert AudioStart.from_event(events[0]).rate == RATE
    assert AudioStop.is_type(events[-1].type)
    assert is_same(samples_of(events), said(wyoming, "Bad cab. Abc."))


def test_one_connection_may_ask_again_and_again_and_ping(wyoming):
    async def ask(client):
        found = []
        for text in ("Bad.", "Cab."):
            await client.write_event(Synthesize(text, SynthesizeVoice("tone")).event())
            found.append(samples_of(await heard(client, "audio-stop")))
        await client.write_event(Event("made-up", {"by": "a client of the future"}))
        await client.write_event(Ping("you").event())
        return [*found, Pong.from_event(await client.read_event()).text]

    first, second, text = talk(wyoming, ask)
    assert is_same(first, said(wyoming, "Bad."))
    assert is_same(second, said(wyoming, "Cab."))
    assert text == "you"


def test_a_text_is_spoken_while_it_is_written(wyoming):
    async def ask(client):
        await client.write_event(SynthesizeStart(SynthesizeVoice("tone")).event())
        await client.write_event(SynthesizeChunk("Bad cab. A").event())
        first = await heard(client, "audio-chunk")  # the text is not over
        await client.write_event(SynthesizeChunk("bc.").event())
        await client.write_event(Synthesize("Bad cab. Abc.", SynthesizeVoice("tone")).event())
        await client.write_event(SynthesizeStop().event())
        return first + await heard(client, "synthesize-stopped")

    events = talk(wyoming, ask)
    assert [event.type for event in events if event.type != "audio-chunk"] == [
        "audio-start",
        "audio-stop",
        "synthesize-stopped",
    ]
    assert SynthesizeStopped.is_type(events[-1].type)
    assert is_same(samples_of(events), said(wyoming, "Bad cab. Abc."))


@pytest.mark.parametrize("language", ["x-tone", "X_tone", "x-other"])
def test_a_voice_is_found_by_its_language(wyoming, language):
    async def ask(client):
        await client.write_event(Synthesize("Bad.", SynthesizeVoice(language=language)).event())
        return await heard(client, "audio-stop")

    assert is_same(samples_of(talk(wyoming, ask)), wyoming.service.say("quiet", "Bad.").samples)


def test_who_names_no_voice_hears_the_first(wyoming):
    async def ask(client):
        await client.write_event(Synthesize("Bad.").event())
        return await heard(client, "audio-stop")

    assert is_same(samples_of(talk(wyoming, ask)), wyoming.service.say("quiet", "Bad.").samples)


@pytest.mark.parametrize(
    ("event", "text", "code"),
    [
        (
            Synthesize("Bad.", SynthesizeVoice("tonne")),
            "voice: no voice 'tonne'; did you mean 'tone'?",
            "voice_not_found",
        ),
        (
            Synthesize("Bad.", SynthesizeVoice(language="de")),
            "language: no voice speaks 'de'; known: x-tone",
            "invalid_value",
        ),
        (
            Synthesize("Bad.", SynthesizeVoice("tone", speaker="eve")),
            "controls: voice 'tone' has no control 'speaker'",
            "invalid_value",
        ),
        (Synthesize("<speak>", text_format="ssml"), "text_format: got 'ssml', want text", "invalid_value"),
        (Synthesize("..."), "text: nothing to speak: got only '...'; ", "invalid_value"),
        (Synthesize("a" * 5000), "got 5,000 characters, at most 4,096 are taken", "string_above_max_length"),
    ],
)
def test_what_cannot_be_spoken_is_refused_and_the_connection_closed(wyoming, event, text, code):
    async def ask(client):
        await client.write_event(event.event())
        return Error.from_event(await client.read_event()), await client.read_event()

    error, after = talk(wyoming, ask)
    assert error.text.startswith(text)
    assert (error.code, after) == (code, None)


@pytest.mark.parametrize(
    "frame",
    [
        b"\n",
        b"what?\n",
        b"[]\n",
        b"{}\n",
        b'{"type": 1}\n',
        b'{"type": "describe", "data": []}\n{"type": "describe", "data": [1]}\n',
        b'{"type": "synthesize"}\n',
        b'{"type": "synthesize", "data": {"text": 1}}\n',
        b'{"type": "synthesize", "data_length": -1}\n',
        b'{"type": "synthesize", "data_length": "9"}\n',
        b'{"type": "synthesize", "data_length": 1000000000}\n',
        b'{"type": "synthesize", "payload_length": 1000000000}\n',
        b'{"type": "synthesize", "data_length": 4}\n[{}]',
        b'{"type": "synthesize", "data": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}\n",
        b'{"type": "describe' + b" " * 70_000 + b'"}\n',
        b"\xff\xfe\x00\n",
        b"\0" * 200_000,
    ],
)
def test_a_malformed_event_ends_its_connection_only(wyoming, frame):
    with socket.create_connection(address_of(wyoming), timeout=PATIENCE_S) as client:
        client.sendall(frame)
        told = b""
        try:
            while data := client.recv(65_536):
                told += data
        except ConnectionResetError:  # what was not read yet is lost
            pass
    lines = [line for line in told.split(b"\n") if b'"error"' in line]
    assert len(lines) == 1 or len(frame) > 65_536
    test_a_whole_text_sounds_as_in_process(wyoming)


def test_who_leaves_in_the_middle_frees_the_voice(wyoming, until):
    for text in ("Abc def. " * 400, None):
        with socket.create_connection(address_of(wyoming), timeout=PATIENCE_S) as client:
            kind, data = ("synthesize-start", {}) if text is None else ("synthesize", {"text": text})
            client.sendall(json.dumps({"type": kind, "data": data}).encode() + b"\n")
            if text is None:
                chunk = {"type": "synthesize-chunk", "data": {"text": "Abc def. Ghi"}}
                client.sendall(json.dumps(chunk).encode() + b"\n")
            assert client.recv(1)
            assert wyoming.service.at_work == 1
        until(lambda: not wyoming.service.at_work and not wyoming.desk.in_flight)
        assert wyoming.service.admission.at_work == 0


def test_who_stops_writing_is_let_go(serve):
    served = serve(wyoming_port=0, silent_s=0.05)

    async def ask(client):
        await client.write_event(SynthesizeStart(SynthesizeVoice("tone")).event())
        return Error.from_event(await client.read_event())

    error = talk(served, ask)
    assert (error.text, error.code) == ("nothing came for 0.05 s", "input_timeout_exceeded")
    assert served.service.at_work == 0


def test_the_log_tells_of_a_connection_but_not_its_text(wyoming, until, caplog):
    caplog.set_level("INFO", "voxstack")

    async def ask(client):
        await client.write_event(Synthesize("Bad cab.", SynthesizeVoice("tone")).event())
        await heard(client, "audio-stop")
        await client.write_event(Ping().event())
        await heard(client, "pong")

    talk(wyoming, ask)
    until(lambda: any('"wyoming"' in message for message in caplog.messages))
    [line] = [json.loads(message) for message in caplog.messages if '"wyoming"' in message]
    assert (line["outcome"], line["voice"], line["characters"]) == ("done", "tone", 8)
    assert (line["requests"], line["address"]) == (1, "127.0.0.1")
    assert "Bad cab" not in caplog.text


def test_many_at_once_hear_each_their_own(wyoming):
    texts = [f"{letter}bc def." for letter in "abcdefghijkl"]

    async def one(text):
        async with AsyncTcpClient(*address_of(wyoming), read_timeout=PATIENCE_S) as client:
            await client.write_event(SynthesizeStart(SynthesizeVoice("tone")).event())
            for character in text:
                await client.write_event(SynthesizeChunk(character).event())
            await client.write_event(SynthesizeStop().event())
            return samples_of(await heard(client, "synthesize-stopped"))

    async def all_of_them():
        return await asyncio.gather(*map(one, texts))

    for text, samples in zip(texts, asyncio.run(all_of_them()), strict=True):
        assert is_same(samples, said(wyoming, text))


def test_a_drain_lets_what_is_spoken_end_and_closes_the_rest(serve, wyoming):
    served = serve(wyoming_port=0, drain_s=PATIENCE_S)

    async def ask(client):
        await client.write_event(SynthesizeStart(SynthesizeVoice("tone")).event())
        await client.write_event(SynthesizeChunk("Bad cab. A").event())
        first = await heard(client, "audio-chunk")
        served.server.drain()
        await client.write_event(SynthesizeChunk("bc.").event())
        await client.write_event(SynthesizeStop().event())
        return first + await heard(client, "synthesize-stopped"), await client.read_event()

    events, after = talk(served, ask)
    assert is_same(samples_of(events), said(wyoming, "Bad cab. Abc."))
    assert after is None


def test_an_event_that_breaks_off_at_any_byte_hurts_nobody(wyoming, until):
    data = b'{"text": "Bad cab."}'
    whole = json.dumps({"type": "synthesize", "data_length": len(data), "payload_length": 2}).encode()
    whole += b"\n" + data + b"\0\0"
    for stop in range(len(whole)):
        with socket.create_connection(address_of(wyoming), timeout=PATIENCE_S) as client:
            client.sendall(whole[:stop])
            client.shutdown(socket.SHUT_WR)
            assert client.recv(65_536) == b""
    until(lambda: not wyoming.server.wyoming.connections)
    assert wyoming.service.admission.at_work == 0


def test_who_hangs_up_rudely_is_no_fault_of_the_servers(wyoming, until, caplog):
    caplog.set_level("INFO", "voxstack")
    with socket.create_connection(address_of(wyoming), timeout=PATIENCE_S) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(b'{"type": "ping"}\n')
        assert client.recv(1)
    until(lambda: any('"wyoming"' in message for message in caplog.messages))
    [line] = [json.loads(message) for message in caplog.messages]
    assert (line["event"], line["outcome"]) == ("wyoming", "done")
