"""Texts are spoken over the plain WebSocket while they are written, whoever leaves, stalls or errs."""

import asyncio
import json
import socket
from contextlib import suppress

import numpy as np
import pytest
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed

pytestmark = pytest.mark.end_to_end

PATIENCE_S = 20
PLAIN = "/v1/audio/speech/stream"


def raw(messages) -> np.ndarray:
    return np.frombuffer(b"".join(part for part in messages if isinstance(part, bytes)), "<i2")


def is_same(samples, wanted) -> bool:
    return len(samples) == len(wanted) and np.abs(samples / 32767 - wanted).max() < 2 / 32767


def test_requests_follow_each_other_and_sound_as_in_process(served):
    with served.talk(PLAIN) as talk:
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


def test_a_sentence_is_spoken_before_the_text_ends(served):
    with served.talk(PLAIN) as talk:
        talk.send(voice="tone", format="pcm_16000")
        for piece in ("Ba", "d cab", ". A"):
            talk.send(text=piece)
        first = [talk.receive(), talk.receive()]
        assert isinstance(first[1], bytes)
        talk.send(text="bc.")
        talk.send(end=True)
        assert is_same(raw(first + talk.until("done")), served.service.say("tone", "Bad cab. Abc.").samples)


def test_a_flush_speaks_half_a_sentence(served):
    with served.talk(PLAIN) as talk:
        talk.send(voice="tone", format="pcm_16000", marks=["sentence"])
        talk.receive()
        talk.send(text="Bad ca", flush=True)
        mark = talk.receive()
        assert (mark["start"], mark["end"], mark["value"]) == (0, 6, "Bad ca")
        talk.send(text="b.", end=True)
        marks = [part for part in talk.until("done") if not isinstance(part, bytes)]
        assert (marks[0]["start"], marks[0]["value"]) == (6, "b.")


def test_a_codec_holds_nothing_back_while_the_text_waits(served):
    with served.talk(PLAIN) as talk:
        talk.send(voice="tone", format="pcm_48000")
        talk.receive()
        talk.send(text="Bad cab", flush=True)
        whole = len(served.service.say("tone", "Bad cab").samples) * 3
        got = 0
        while got < whole:
            got += len(talk.receive()) // 2
        talk.send(end=True)
        talk.until("done")


def test_marks_come_with_the_audio(served):
    with served.talk(PLAIN) as talk:
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


def test_a_cancelled_request_stops_and_the_next_is_heard(served, until):
    with served.talk(PLAIN) as talk:
        talk.send(voice="tone", format="pcm_16000")
        talk.send(text="abc def " * 400, end=True)
        assert isinstance([talk.receive(), talk.receive()][1], bytes)
        talk.send(cancel=True)
        assert talk.until("cancelled")[-1]["characters"] == 3200
        assert served.is_idle(until)
        talk.send(voice="tone", format="pcm_16000")
        talk.send(text="Bad.", end=True)
        assert is_same(raw(talk.until("done")), served.service.say("tone", "Bad.").samples)


def test_every_format_is_heard(served):
    import io

    import soundfile

    for name, media_type in {
        "mp3_22050_32": "audio/mpeg",
        "mp3_44100_128": "audio/mpeg",
        "opus_48000_64": "audio/ogg",
        "wav_44100": "audio/wav",
    }.items():
        with served.talk(PLAIN) as talk:
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
        ([{"voice": "tone"}, {"text": "\ud83d"}], "the body: holds half a character"),
        ([{"voice": "tone", "seed": -1}], "seed: got -1; "),
        ([{"voice": "tone", "seed": 1, "controls": {"seed": 2}}], "seed is given twice"),
        ([{"voice": "tone"}, {"end": True}], "text: nothing to speak: got an empty text"),
        ([{"voice": "tone"}, {"text": "...", "end": True}], "text: nothing to speak: got only '...'"),
        ([{"voice": "tone"}, {"text": "a" * 5000}], "got 5,000 characters, at most 4,096 are taken"),
        (
            [{"voice": "tone"}, {"text": "abc " * 900, "end": True}, {"text": "b"}],
            "text: its text has ended",
        ),
    ],
)
def test_what_is_wrong_is_told_and_the_socket_closed(served, until, messages, what):
    with served.talk(PLAIN) as talk:
        for message in messages:
            talk.client.send(json.dumps(message) if isinstance(message, dict) else message)
        told, code = talk.end()
    assert told[-1]["type"] == "error"
    assert told[-1]["error"]["message"].startswith(what)
    assert code == 1008
    assert served.is_idle(until)


def test_a_message_larger_than_any_text_closes_the_socket(served, until):
    with served.talk(PLAIN) as talk:
        with suppress(ConnectionClosed):
            talk.client.send("[" + " " * 200_000)
        assert talk.end()[1] in {1009, 1006}  # as much as it heard of why
    assert served.is_idle(until)


def test_who_leaves_in_the_middle_frees_the_voice(served, until):
    for text in ("abc def " * 400, "Abc def. Ghi"):
        with served.talk(PLAIN) as talk:
            talk.send(voice="tone")
            talk.send(text=text)
            assert isinstance([talk.receive(), talk.receive()][1], bytes)
            assert served.service.at_work == 1
            talk.client.socket.shutdown(socket.SHUT_RDWR)
        assert served.is_idle(until)


def test_who_takes_nothing_stops_the_work_and_is_let_go(serve, until):
    served = serve(stalled_s=0.3)
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    host, port = served.url.removeprefix("http://").split(":")
    small.connect((host, int(port)))
    with served.talk(PLAIN, sock=small, max_queue=1, close_timeout=0.1) as talk:
        talk.send(voice="tone", format="wav_48000")
        assert talk.receive()["type"] == "started"
        talk.send(text="abc def " * 500, end=True)
        assert served.is_idle(until)
    assert served.metric('voxstack_cancellations_total{reason="stalled",voice="tone"}') == 1


def test_who_writes_nothing_is_let_go(serve, until):
    served = serve(silent_s=0.05)
    with served.talk(PLAIN) as talk:
        talk.send(voice="tone")
        told, code = talk.end()
    assert told[-1]["error"]["message"] == "nothing came for 0.05 s"
    assert (told[-1]["error"]["code"], code) == ("input_timeout_exceeded", 1008)
    assert served.is_idle(until)


def test_there_is_no_room_for_more_than_fit(serve, until):
    served = serve(streams=1)
    with served.talk(PLAIN) as first, served.talk(PLAIN) as second:
        first.send(voice="tone")
        first.receive()
        second.send(voice="tone")
        told, code = second.end()
        assert (told[0]["error"]["code"], code) == ("rate_limit_exceeded", 1013)
        first.send(text="Bad.", end=True)
        first.until("done")


def test_many_at_once_hear_each_their_own(served, until):
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
    assert served.is_idle(until)


def test_a_drain_lets_what_is_spoken_end_and_takes_nothing_new(serve):
    served = serve(drain_s=PATIENCE_S)
    with served.talk(PLAIN) as talk, served.talk(PLAIN) as other:
        talk.send(voice="tone", format="pcm_16000")
        talk.receive()
        served.server.drain()
        other.send(voice="tone")
        assert other.end()[0][0]["error"]["code"] == "draining"
        talk.send(text="Bad cab.", end=True)
        assert len(raw(talk.until("done")))
        assert talk.end()[1] == 1012
