"""A text in writing is spoken over a WebSocket in ElevenLabs' shape, with the times of its characters."""

import base64

import numpy as np
import pytest

pytestmark = pytest.mark.end_to_end

ELEVEN = "/v1/text-to-speech/tone/stream-input"
RAW = "?output_format=pcm_16000"


def raw_of(messages) -> np.ndarray:
    data = b"".join(base64.b64decode(message.get("audio") or "") for message in messages)
    return np.frombuffer(data, "<i2")


def is_same(samples, wanted) -> bool:
    return len(samples) == len(wanted) and np.abs(samples / 32767 - wanted).max() < 2 / 32767


def test_a_text_is_spoken_while_it_is_written(served):
    with served.talk(ELEVEN + RAW) as talk:
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
def test_it_is_spoken_at_once_where_that_is_asked_for(served, query, message):
    with served.talk(ELEVEN + RAW + query) as talk:
        talk.send(text="Bad cab.", **message)
        assert talk.receive()["audio"]
        talk.send(text="")
        talk.until_final()


def test_each_character_has_its_time(served):
    text = "Bad cab. Abc!"
    with served.talk(ELEVEN + RAW) as talk:
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


def test_a_text_of_nothing_is_over_at_once(served):
    with served.talk(ELEVEN) as talk:
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
def test_what_is_wrong_is_told_and_the_socket_closed(served, until, path, messages, what):
    with served.talk(path) as talk:
        for message in messages:
            talk.send(**message)
        [told], code = talk.end()
    assert told["message"].startswith(what)
    assert (told["code"], code) == (1008, 1008)
    assert told["error"]
    assert served.is_idle(until)


def test_who_writes_nothing_is_let_go(served, until, monkeypatch):
    monkeypatch.setattr("voxstack.server.stream_input.SHORTEST_SILENT_S", 0.01)
    with served.talk(ELEVEN + "?inactivity_timeout=0.05") as talk:
        talk.send(text="Abc")
        [told], code = talk.end()
    assert (told["error"], code) == ("input_timeout_exceeded", 1008)
    assert served.is_idle(until)
