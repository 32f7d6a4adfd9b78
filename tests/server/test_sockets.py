"""Texts in writing are spoken over WebSockets: while they are written, whoever leaves, stalls or errs."""

import asyncio
import base64
import json
import socket
from contextlib import contextmanager, suppress

import numpy as np
import pytest
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from voxstack.server.keys import add_key
from voxstack.server.running import bind
from voxstack.server.settings import ServerSettings

pytestmark = pytest.mark.end_to_end

PATIENCE_S = 20
PLAIN = "/v1/audio/speech/stream"
ELEVEN = "/v1/text-to-speech/tone/stream-input"
RAW = "?output_format=pcm_16000"


@contextmanager
def talking(served, path, **options):
    """Connect, and send and receive JSON; what is received as bytes stays bytes."""
    with connect(served.url.replace("http", "ws") + path, open_timeout=PATIENCE_S, **options) as client:
        yield Talk(client)


class Talk:
    def __init__(self, client):
        self.client = client

    def send(self, **message):
        self.client.send(json.dumps(message))

    def receive(self):
        message = self.client.recv(PATIENCE_S)
        return message if isinstance(message, bytes) else json.loads(message)

    def until(self, kind):
        """Return all messages up to one of a type."""
        messages = []
        while True:
            messages.append(self.receive())
            if not isinstance(messages[-1], bytes) and messages[-1].get("type") == kind:
                return messages

    def until_final(self):
        """Return ElevenLabs' messages up to the last."""
        messages = [self.receive()]
        while not messages[-1].get("isFinal"):
            messages.append(self.receive())
        return messages

    def end(self):
        """Return what is said before the server closes, and its code."""
        messages = []
        with suppress(ConnectionClosed):
            while True:
                messages.append(self.receive())
        return messages, self.client.protocol.close_code


def raw(messages) -> np.ndarray:
    return np.frombuffer(b"".join(part for part in messages if isinstance(part, bytes)), "<i2")


def raw_of(messages) -> np.ndarray:
    data = b"".join(base64.b64decode(message.get("audio") or "") for message in messages)
    return np.frombuffer(data, "<i2")


def is_same(samples, wanted) -> bool:
    return len(samples) == len(wanted) and np.abs(samples / 32767 - wanted).max() < 2 / 32767


def is_idle(served, until):
    until(lambda: not served.service.at_work and not served.desk.in_flight)
    return served.service.admission.at_work == 0 and not any(
        row.leases for row in served.service.voices.states()
    )


class TestPlain:
    def test_requests_follow_each_other_and_sound_as_in_process(self, served):
        with talking(served, PLAIN) as talk:
            for text, speed in (("Bad cab. Abc.", 1.0), ("Deaf bee.", 1.25)):
                talk.send(voice="tone", format="pcm_16000", controls={"speed": speed})
                started = talk.receive()
                talk.send(text=text, end=True)
                messages = talk.until("done")
                said = served.service.say("tone", text, speed=speed).samples
                assert is_same(raw(messages), said)
                assert messages[-1] == {
                    "type": "done",
                    "audio_s": round(len(said) / 16_000, 3),
                    "characters": len(text),
                }
        assert started == {
            "type": "started",
            "voice": "tone",
            "format": "pcm_16000",
            "media_type": "audio/pcm",
            "sample_rate": 16_000,
            "channels": 1,
        }

    def test_a_sentence_is_spoken_before_the_text_ends(self, served):
        with talking(served, PLAIN) as talk:
            talk.send(voice="tone", format="pcm_16000")
            for piece in ("Ba", "d cab", ". A"):
                talk.send(text=piece)
            first = [talk.receive(), talk.receive()]
            assert isinstance(first[1], bytes)
            talk.send(text="bc.")
            talk.send(end=True)
            assert is_same(
                raw(first + talk.until("done")), served.service.say("tone", "Bad cab. Abc.").samples
            )

    def test_a_flush_speaks_half_a_sentence(self, served):
        with talking(served, PLAIN) as talk:
            talk.send(voice="tone", format="pcm_16000", marks=["sentence"])
            talk.receive()
            talk.send(text="Bad ca", flush=True)
            mark = talk.receive()
            assert (mark["start"], mark["end"], mark["value"]) == (0, 6, "Bad ca")
            talk.send(text="b.", end=True)
            marks = [part for part in talk.until("done") if not isinstance(part, bytes)]
            assert (marks[0]["start"], marks[0]["value"]) == (6, "b.")

    def test_a_codec_holds_nothing_back_while_the_text_waits(self, served):
        with talking(served, PLAIN) as talk:
            talk.send(voice="tone", format="pcm_48000")
            talk.receive()
            talk.send(text="Bad cab", flush=True)
            whole = len(served.service.say("tone", "Bad cab").samples) * 3
            got = 0
            while got < whole:
                got += len(talk.receive()) // 2
            talk.send(end=True)
            talk.until("done")

    def test_marks_come_with_the_audio(self, served):
        with talking(served, PLAIN) as talk:
            talk.send(voice="tone", marks=["word"], speed=4)
            talk.send(text="Bad cab.", end=True)
            messages = talk.until("done")
        marks = [part for part in messages if isinstance(part, dict) and part["type"] == "mark"]
        assert [(mark["value"], mark["start"], mark["end"]) for mark in marks] == [
            ("Bad", 0, 3),
            ("cab", 4, 7),
        ]
        wanted = served.service.say("tone", "Bad cab.", marks="word", speed=2.0).marks
        for mark, other in zip(marks, wanted, strict=True):
            assert mark["time_s"] == pytest.approx(other.time_s / 2, abs=1e-3)
            assert mark["duration_s"] == pytest.approx(other.duration_s / 2, abs=1e-3)

    def test_a_cancelled_request_stops_and_the_next_is_heard(self, served, until):
        with talking(served, PLAIN) as talk:
            talk.send(voice="tone", format="pcm_16000")
            talk.send(text="abc def " * 400, end=True)
            assert isinstance([talk.receive(), talk.receive()][1], bytes)
            talk.send(cancel=True)
            assert talk.until("cancelled")[-1]["characters"] == 3200
            assert is_idle(served, until)
            talk.send(voice="tone", format="pcm_16000")
            talk.send(text="Bad.", end=True)
            assert is_same(raw(talk.until("done")), served.service.say("tone", "Bad.").samples)

    def test_every_format_is_heard(self, served):
        import io

        import soundfile

        for name, media_type in {
            "mp3_22050_32": "audio/mpeg",
            "mp3_44100_128": "audio/mpeg",
            "opus_48000_64": "audio/ogg",
            "wav_44100": "audio/wav",
        }.items():
            with talking(served, PLAIN) as talk:
                talk.send(voice="tone", format=name)
                assert talk.receive()["media_type"] == media_type
                talk.send(text="Bad cab.", end=True)
                data = b"".join(part for part in talk.until("done") if isinstance(part, bytes))
            if media_type != "audio/wav":
                samples, rate = soundfile.read(io.BytesIO(data))
                assert str(rate) in name
                said = served.service.say("tone", "Bad cab.").duration_s
                assert said - 0.01 < len(samples) / rate < said + 0.15

    @pytest.mark.parametrize(
        ("messages", "what"),
        [
            (["{"], "the body: not JSON: "),
            (["[]"], "the body: got a list, want an object"),
            ([b"\xff"], "the body: not JSON: "),
            (["[" * 5000], "the body: not JSON: "),
            ([{}], "voice: 'voice' is missing"),
            ([{"voice": "tone", "sped": 2}], "sped: unknown key 'sped'; did you mean 'speed'?"),
            ([{"voice": "tonne"}], "voice: no voice 'tonne'; did you mean 'tone'?"),
            ([{"voice": "tone", "speed": 9}], "speed: got 9; "),
            ([{"voice": "tone", "format": "pcm_9"}], "format: no format 'pcm_9'"),
            ([{"voice": "tone", "controls": {"sped": 2}}], "controls: voice 'tone' has no control 'sped'"),
            ([{"voice": "tone"}, {"txt": "a"}], "txt: unknown key 'txt'; did you mean 'text'?"),
            ([{"voice": "tone"}, {"text": 1}], "text: got 1; "),
            ([{"voice": "tone"}, {"end": True}], "text: nothing to speak: got an empty text"),
            ([{"voice": "tone"}, {"text": "...", "end": True}], "text: nothing to speak: got only '...'"),
            ([{"voice": "tone"}, {"text": "a" * 5000}], "got 5,000 characters, at most 4,096 are taken"),
            (
                [{"voice": "tone"}, {"text": "abc " * 900, "end": True}, {"text": "b"}],
                "text: its text has ended",
            ),
        ],
    )
    def test_what_is_wrong_is_told_and_the_socket_closed(self, served, until, messages, what):
        with talking(served, PLAIN) as talk:
            for message in messages:
                talk.client.send(json.dumps(message) if isinstance(message, dict) else message)
            told, code = talk.end()
        assert told[-1]["type"] == "error"
        assert told[-1]["error"]["message"].startswith(what)
        assert code == 1008
        assert is_idle(served, until)

    def test_a_message_larger_than_any_text_closes_the_socket(self, served, until):
        with talking(served, PLAIN) as talk:
            with suppress(ConnectionClosed):
                talk.client.send("[" + " " * 200_000)
            assert talk.end()[1] in {1009, 1006}  # as much as it heard of why
        assert is_idle(served, until)

    def test_who_leaves_in_the_middle_frees_the_voice(self, served, until):
        for text in ("abc def " * 400, "Abc def. Ghi"):
            with talking(served, PLAIN) as talk:
                talk.send(voice="tone")
                talk.send(text=text)
                assert isinstance([talk.receive(), talk.receive()][1], bytes)
                assert served.service.at_work == 1
                talk.client.socket.shutdown(socket.SHUT_RDWR)
            assert is_idle(served, until)

    def test_who_takes_nothing_stops_the_work_and_is_let_go(self, serve, until):
        served = serve(stalled_s=0.3)
        small = socket.socket()
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        host, port = served.url.removeprefix("http://").split(":")
        small.connect((host, int(port)))
        with talking(served, PLAIN, sock=small, max_queue=1, close_timeout=0.1) as talk:
            talk.send(voice="tone", format="wav_48000")
            assert talk.receive()["type"] == "started"
            talk.send(text="abc def " * 500, end=True)
            assert is_idle(served, until)
        assert served.metric('voxstack_cancellations_total{reason="stalled",voice="tone"}') == 1

    def test_who_writes_nothing_is_let_go(self, serve, until):
        served = serve(silent_s=0.05)
        with talking(served, PLAIN) as talk:
            talk.send(voice="tone")
            told, code = talk.end()
        assert told[-1]["error"]["message"] == "nothing came for 0.05 s"
        assert (told[-1]["error"]["code"], code) == ("input_timeout_exceeded", 1008)
        assert is_idle(served, until)

    def test_there_is_no_room_for_more_than_fit(self, serve, until):
        served = serve(streams=1)
        with talking(served, PLAIN) as first, talking(served, PLAIN) as second:
            first.send(voice="tone")
            first.receive()
            second.send(voice="tone")
            told, code = second.end()
            assert (told[0]["error"]["code"], code) == ("rate_limit_exceeded", 1013)
            first.send(text="Bad.", end=True)
            first.until("done")

    def test_many_at_once_hear_each_their_own(self, served, until):
        texts = [f"{letter}bc def. Bad cab." for letter in "abcdefghijkl"]

        async def one(text):
            async with connect_async(served.url.replace("http", "ws") + PLAIN) as client:
                await client.send(json.dumps({"voice": "tone", "format": "pcm_16000"}))
                for character in text:
                    await client.send(json.dumps({"text": character}))
                await client.send(json.dumps({"end": True}))
                messages = [await client.recv()]
                while isinstance(messages[-1], bytes) or "done" not in messages[-1]:
                    messages.append(await client.recv())
                return raw(messages)

        async def all_of_them():
            return await asyncio.gather(*map(one, texts))

        for text, samples in zip(texts, asyncio.run(all_of_them()), strict=True):
            assert is_same(samples, served.service.say("tone", text).samples)
        assert is_idle(served, until)

    def test_a_drain_lets_what_is_spoken_end_and_takes_nothing_new(self, serve):
        served = serve(drain_s=PATIENCE_S)
        with talking(served, PLAIN) as talk, talking(served, PLAIN) as other:
            talk.send(voice="tone", format="pcm_16000")
            talk.receive()
            served.server.drain()
            other.send(voice="tone")
            assert other.end()[0][0]["error"]["code"] == "draining"
            talk.send(text="Bad cab.", end=True)
            assert len(raw(talk.until("done")))
            assert talk.end()[1] == 1012


class TestStreamInput:
    def test_a_text_is_spoken_while_it_is_written(self, served):
        with talking(served, ELEVEN + RAW) as talk:
            talk.send(
                text=" ",
                voice_settings={"stability": 0.5, "similarity_boost": 0.8, "speed": 1.25},
                generation_config={"chunk_length_schedule": [120]},
                xi_api_key="unneeded",
            )
            talk.send(text="Bad cab. ")
            talk.send(text="Abc ")
            first = talk.receive()
            assert first["audio"]
            assert first["isFinal"] is None
            talk.send(text="def. ")
            talk.send(text="")
            messages = [first, *talk.until_final()]
            assert talk.end() == ([], 1000)
        assert messages[-1] == {"isFinal": True}
        assert is_same(raw_of(messages), served.service.say("tone", "Bad cab. Abc def.", speed=1.25).samples)

    @pytest.mark.parametrize(
        ("query", "message"),
        [("", {"flush": True}), ("", {"try_trigger_generation": True}), ("&auto_mode=true", {})],
    )
    def test_it_is_spoken_at_once_where_that_is_asked_for(self, served, query, message):
        with talking(served, ELEVEN + RAW + query) as talk:
            talk.send(text="Bad cab.", **message)
            assert talk.receive()["audio"]
            talk.send(text="")
            talk.until_final()

    def test_each_character_has_its_time(self, served):
        text = "Bad cab. Abc!"
        with talking(served, ELEVEN + RAW) as talk:
            talk.send(text=text)
            talk.send(text="")
            messages = talk.until_final()
        marks = served.service.say("tone", text, marks="word").marks
        chars, begins, begin_ms = "", {}, 0.0
        for message in messages[:-1]:
            alignment = message["alignment"]
            assert alignment == message["normalizedAlignment"]
            if alignment is not None:
                for char, start_ms in zip(alignment["chars"], alignment["charStartTimesMs"], strict=True):
                    begins[len(chars)] = begin_ms + start_ms
                    chars += char
            begin_ms += len(base64.b64decode(message["audio"])) / 32
        assert chars == text
        for mark in marks:
            assert begins[mark.start] == pytest.approx(mark.time_s * 1000, abs=2)

    def test_a_text_of_nothing_is_over_at_once(self, served):
        with talking(served, ELEVEN) as talk:
            talk.send(text=" ")
            talk.send(text="")
            assert talk.end() == ([{"isFinal": True}], 1000)

    @pytest.mark.parametrize(
        ("path", "messages", "what"),
        [
            (ELEVEN + "?output_format=mp4", [], "output_format: no format 'mp4'"),
            (ELEVEN + "?inactivity_timeout=0", [], "inactivity_timeout: got 0, want seconds from 1 to 180"),
            (ELEVEN + "?inactivity_timeout=x", [], "inactivity_timeout: got 'x', want a number"),
            (ELEVEN + "?seed=nan", [], "seed: got 'nan', want a number"),
            (
                ELEVEN.replace("tone", "tonne"),
                [{"text": " "}],
                "voice: no voice 'tonne'; did you mean 'tone'?",
            ),
            (ELEVEN, [{"text": 1}], "text: got 1; "),
            (ELEVEN, [{"text": "a", "voice_settings": {"speed": 5}}], "voice_settings: got 5; "),
            (ELEVEN, [{"text": "a" * 5000}], "got 5,000 characters, at most 4,096 are taken"),
            (ELEVEN, [{"text": "..."}, {"text": ""}], "text: nothing to speak: got only '...'"),
        ],
    )
    def test_what_is_wrong_is_told_and_the_socket_closed(self, served, until, path, messages, what):
        with talking(served, path) as talk:
            for message in messages:
                talk.send(**message)
            [told], code = talk.end()
        assert told["message"].startswith(what)
        assert (told["code"], code) == (1008, 1008)
        assert told["error"]
        assert is_idle(served, until)

    def test_who_writes_nothing_is_let_go(self, served, until, monkeypatch):
        monkeypatch.setattr("voxstack.server.stream_input.SHORTEST_SILENT_S", 0.01)
        with talking(served, ELEVEN + "?inactivity_timeout=0.05") as talk:
            talk.send(text="Abc")
            [told], code = talk.end()
        assert (told["error"], code) == ("input_timeout_exceeded", 1008)
        assert is_idle(served, until)


@pytest.fixture(scope="module")
def keyed(serve_for_module, tmp_path_factory):
    """A server that wants a key, and the key."""
    file = tmp_path_factory.mktemp("keys") / "keys"
    key = add_key(file, "ann")
    return serve_for_module(keys=str(file)), key


class TestKeys:
    @pytest.mark.parametrize("where", ["header", "bearer", "query", "message"])
    def test_a_key_may_come_in_the_head_the_address_or_the_first_message(self, keyed, where):
        served, key = keyed
        headers = {"header": {"xi-api-key": key}, "bearer": {"Authorization": f"Bearer {key}"}}.get(where)
        query = f"?xi-api-key={key}" if where == "query" else ""
        with talking(served, ELEVEN + query, additional_headers=headers) as talk:
            talk.send(text="Bad.", **({"xi-api-key": key} if where == "message" else {}))
            talk.send(text="")
            assert len(talk.until_final()) > 1
        with talking(served, PLAIN + query, additional_headers=headers) as talk:
            talk.send(voice="tone", **({"key": key} if where == "message" else {}))
            assert talk.receive()["type"] == "started"

    @pytest.mark.parametrize(("key", "code"), [(None, "missing_api_key"), ("vox-wrong", "invalid_api_key")])
    def test_no_key_and_a_wrong_one_are_refused(self, keyed, key, code):
        with talking(keyed[0], ELEVEN.replace("tone", "tonne")) as talk:
            talk.send(text="Bad.", **({} if key is None else {"xi_api_key": key}))
            [told], closed = talk.end()
            assert (told["error"], closed) == (code, 1008)
        with talking(keyed[0], PLAIN) as talk:
            talk.send(voice="tonne", **({} if key is None else {"key": key}))
            [told], closed = talk.end()
            assert (told["error"]["code"], closed) == (code, 1008)


def test_a_page_from_elsewhere_may_not_call_unless_it_is_allowed(served, serve):
    with pytest.raises(InvalidStatus, match="403"), talking(served, PLAIN, origin="http://evil.example"):
        pass
    for origin in (served.url, None):
        with talking(served, PLAIN, origin=origin):
            pass
    with talking(serve(cors_origins=("http://good.example",)), PLAIN, origin="http://good.example"):
        pass


def test_the_log_and_the_metrics_tell_of_a_socket_but_not_its_text_or_key(served, until, caplog):
    caplog.set_level("INFO", "voxstack")
    route = "/v1/text-to-speech/{voice}/stream-input"
    counted = f'voxstack_http_requests_total{{method="WEBSOCKET",route="{route}",status="1000"}}'
    before = served.metric(counted)
    with talking(served, ELEVEN + "?xi-api-key=vox-secret") as talk:
        talk.send(text="Bad cab.", xi_api_key="vox-secret")
        talk.send(text="")
        talk.until_final()
        talk.end()
    until(lambda: any('"websocket"' in message for message in caplog.messages))
    [line] = [json.loads(message) for message in caplog.messages if '"websocket"' in message]
    assert (line["path"], line["outcome"], line["status"]) == (ELEVEN, "done", 1000)
    assert (line["voice"], line["format"], line["characters"], line["requests"]) == (
        "tone",
        "mp3_44100_128",
        8,
        1,
    )
    assert not any(secret in caplog.text for secret in ("vox-secret", "Bad cab"))
    assert served.metric(counted) == before + 1


UPGRADE = (
    f"GET {PLAIN} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
).encode()


def framed(data, *, opcode=1, bits=0x80) -> bytes:
    """Return a client's frame of fewer than 126 bytes, masked with zeros."""
    return bytes([bits | opcode, 0x80 | len(data)]) + bytes(4) + data


@pytest.mark.parametrize(
    "frame",
    [
        framed(b"{}", opcode=3),
        framed(b"{}", bits=0xC0),
        framed(b"{}", opcode=9, bits=0),
        framed(b"\xff\xfe"),
        framed(b"{}", opcode=0),
        framed(b"x" * 50, bits=0) + framed(b"{}"),
        b"\x81\x02{}",
        b"\x81\xff\x7f" + b"\xff" * 20,
        b"\x88\x81" + bytes(5),
        b"\0" * 100,
    ],
)
def test_a_malformed_frame_ends_its_socket_only(served, until, frame):
    with raw_socket(served) as client:
        upgrade(client)
        client.sendall(frame)
        told = b""
        with suppress(ConnectionResetError):
            while data := client.recv(65_536):
                told += data
    assert not told or told[0] == 0x88  # a close frame, if there still was time for it
    assert is_idle(served, until)
    TestPlain().test_requests_follow_each_other_and_sound_as_in_process(served)


def test_a_socket_that_breaks_off_at_any_byte_hurts_nobody(served, until):
    begun, text = json.dumps({"voice": "tone"}), json.dumps({"text": "Bad cab. Abc", "flush": True})
    frames = framed(begun.encode()) + framed(text.encode())
    for stop in range(0, len(UPGRADE), 7):
        with raw_socket(served) as client:
            client.sendall(UPGRADE[:stop])
    for stop in range(len(frames) + 1):
        with raw_socket(served) as client:
            upgrade(client)
            client.sendall(frames[:stop])
            if stop >= len(framed(begun.encode())):
                assert client.recv(1)
    assert is_idle(served, until)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (UPGRADE.replace(b"GET", b"POST"), b"405"),
        (UPGRADE.replace(b"Host", b"A: b\r\n" * 200 + b"Host"), b"400"),
        (UPGRADE.replace(b"Host", b"A: " + b"b" * 20_000 + b"\r\nHost"), b"400"),
        (UPGRADE.replace(b"Host", b"Origin: http://[\r\nHost"), b"403"),
    ],
    ids=["method", "many lines", "long line", "origin"],
)
def test_a_head_that_is_none_of_a_socket_is_answered(served, until, caplog, head, status):
    with raw_socket(served) as client:
        client.sendall(head)
        told = b""
        while data := client.recv(65_536):
            told += data
    assert told.startswith(b"HTTP/1.1 " + status)
    until(lambda: not served.server.server_state.connections)
    assert not [record for record in caplog.records if record.levelname != "INFO"]


def test_pings_whose_answers_nobody_takes_are_answered_with_the_last(served):
    with raw_socket(served, receive_bytes=4096) as client:
        upgrade(client)
        for number in range(40_000):
            client.sendall(framed(b"%0100d" % number, opcode=9))
        client.settimeout(0.5)
        told = bytearray()
        with suppress(TimeoutError):
            while data := client.recv(1 << 20):
                told += data
    assert len(told) < 1_000_000
    assert told.endswith(b"%0100d" % 39_999)


def test_empty_parts_of_a_message_are_not_kept(served):
    with raw_socket(served) as client:
        upgrade(client)
        client.sendall(framed(b'{"voice": ', bits=0) + framed(b"", opcode=0, bits=0) * 10_000)
        client.sendall(framed(b'"tone"}', opcode=0))
        assert b'"started"' in client.recv(1000)


def test_last_bytes_of_a_socket_that_nobody_takes_are_dropped(served, until, monkeypatch):
    monkeypatch.setattr("voxstack.server.connection.LINGER_S", 0.2)
    connections = served.server.server_state.connections
    until(lambda: not connections)
    with raw_socket(served, receive_bytes=4096) as client:
        upgrade(client)
        client.sendall(framed(b'{"voice": "tone", "format": "pcm_48000"}'))
        client.sendall(framed(b'{"text": "%s", "end": true}' % (b"abcdefghijkl " * 7)))
        until(lambda: any(one.transport.get_write_buffer_size() for one in connections))
        client.sendall(framed(b"{", opcode=3))
        until(lambda: not connections)


def test_a_frame_that_cannot_be_read_is_not_the_servers_fault(served, until, caplog):
    caplog.set_level("INFO", "voxstack")
    for _ in range(20):
        with raw_socket(served) as client:
            upgrade(client)
            client.sendall(framed(b'{"voice": "tone", "format": "pcm_48000"}'))
            client.sendall(framed(b'{"text": "abcdefghijkl abcdefghijkl abcdefghijkl", "end": true}'))
            client.recv(1000)
            client.sendall(framed(b"{", opcode=3))
            with suppress(ConnectionResetError):
                while client.recv(65_536):
                    pass
    assert is_idle(served, until)
    assert "broken" not in caplog.text


def upgrade(client) -> None:
    """Make a WebSocket of a socket."""
    client.sendall(UPGRADE)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.recv(1)
    assert head.startswith(b"HTTP/1.1 101")


def raw_socket(served, receive_bytes=None) -> socket.socket:
    host, port = served.url.removeprefix("http://").split(":")
    client = socket.socket()
    client.settimeout(PATIENCE_S)
    if receive_bytes is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    client.connect((host, int(port)))
    return client


def test_no_chunk_waits_for_the_client_to_confirm_the_one_before():
    with bind(ServerSettings(port=0)) as listener:
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
