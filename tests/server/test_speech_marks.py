"""Who asks for marks gets them as events, before the audio they begin in, at the times of what is heard."""

import base64
import json

import pytest

import voxstack

pytestmark = pytest.mark.end_to_end

TEXT = "Bad cab. A badge, a beach."


@pytest.fixture(scope="module")
def voice(voices):
    return voxstack.load("tone", folders=[voices])


def events(served, **more):
    """Return the events of a speech stream."""
    status, body, _ = served.say(TEXT, stream_format="sse", **more)
    assert status == 200, body
    return [json.loads(line[6:]) for line in body.decode().splitlines() if line]


def of(events, kind):
    return [event for event in events if event["type"] == f"speech.audio.{kind}"]


def test_a_stream_has_the_marks_that_the_voice_gives(served, voice):
    found = of(events(served, marks=["word", "sentence"]), "mark")
    wanted = voice.say(TEXT, marks=["word", "sentence"]).marks
    assert [(mark["kind"], mark["start"], mark["end"], mark["value"]) for mark in found] == [
        (mark.kind, mark.start, mark.end, mark.value) for mark in wanted
    ]
    assert [mark["time_ms"] for mark in found] == pytest.approx(
        [mark.time_s * 1e3 for mark in wanted], abs=0.1
    )
    assert {mark["value"] for mark in found if mark["kind"] == "word"} == {
        "Bad",
        "cab",
        "A",
        "badge",
        "a",
        "beach",
    }


def test_a_mark_comes_before_the_audio_in_which_it_begins(served):
    given_ms = 0.0
    found = events(served, marks=["word"])
    assert len(of(found, "delta")) > 1
    for event in found:
        if event["type"] == "speech.audio.mark":
            assert event["time_ms"] >= given_ms - 1
        elif event["type"] == "speech.audio.delta":
            given_ms += len(base64.b64decode(event["audio"])) / 2 / 24


@pytest.mark.parametrize("speed", [0.3, 3.0])
def test_marks_keep_pace_with_audio_that_is_stretched(served, voice, speed):
    found = events(served, marks=["word"], speed=speed)
    own = min(max(speed, 0.5), 2.0)
    wanted = voice.say(TEXT, marks=["word"], speed=own).marks
    times = [mark["time_ms"] for mark in of(found, "mark")]
    assert times == pytest.approx([mark.time_s * 1000 * own / speed for mark in wanted], abs=0.1)
    audio_ms = sum(len(base64.b64decode(event["audio"])) for event in of(found, "delta")) / 2 / 24
    assert times[-1] < audio_ms


def test_who_asks_for_none_gets_openais_events_only(served):
    assert {event["type"] for event in events(served)} == {"speech.audio.delta", "speech.audio.done"}


@pytest.mark.parametrize(
    ("more", "param", "says"),
    [
        ({"marks": ["word"]}, "marks", "they need stream_format 'sse'"),
        (
            {"marks": ["wird"], "stream_format": "sse"},
            "marks",
            "got 'wird'; input should be 'sentence', 'word'",
        ),
    ],
)
def test_marks_that_cannot_be_given_are_refused_in_words(served, more, param, says):
    status, error = served.error(TEXT, **more)
    assert (status, error["param"], says in error["message"]) == (400, param, True), error
