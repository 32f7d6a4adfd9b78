"""Whatever the format, times of marks and of characters are those at which a decoder finds them."""

import base64
import io
import json

import numpy as np
import pytest
import soundfile

import voxstack

pytestmark = pytest.mark.end_to_end

TEXT = "Bad. Cab. Deaf."
PLAIN = "/v1/audio/speech/stream"
QUIET_S = 0.05
"""What no word has within, and any two have between them."""

NEAR_S = 0.003
RAW = {"pcm": "PCM_16", "ulaw": "ULAW"}
DELAYS_S = {"mp3_44100_32": 1105 / 44_100}


@pytest.fixture(scope="module")
def words(voices):
    """How much earlier than its mark each word of the voice is at half its loudness, in seconds."""
    audio = voxstack.load("tone", folders=[voices]).say(TEXT, marks="word")
    return early(audio.samples, audio.sample_rate, [mark.time_s for mark in audio.marks])


def early(samples, rate, times_s):
    loud = np.flatnonzero(np.abs(samples) > np.abs(samples).max() / 2)
    begins = loud[np.diff(loud, prepend=-rate) > QUIET_S * rate] / rate
    assert len(begins) == len(times_s)
    return [time_s - begin_s for time_s, begin_s in zip(times_s, begins, strict=True)]


def decoded(data, name):
    """Return samples and their rate."""
    if not data:
        return np.zeros(0), 1
    kind, rate, *_ = *name.split("_"), 24_000
    if kind in RAW:
        raw = {"format": "RAW", "subtype": RAW[kind], "channels": 1, "samplerate": int(rate)}
        return soundfile.read(io.BytesIO(data), **raw)
    if kind in ("aac", "flac"):
        av = pytest.importorskip("av", reason="the extra 'aac' is not installed")
        with av.open(io.BytesIO(data)) as file:
            frames = [frame.to_ndarray()[0] for frame in file.decode(audio=0)]
            return np.concatenate(frames).astype(np.float64), file.streams.audio[0].rate
    return soundfile.read(io.BytesIO(data))


def audio_of(messages):
    return b"".join(part for part in messages if isinstance(part, bytes))


@pytest.mark.parametrize("name", ["mp3", "opus", "aac", "flac", "wav", "pcm"])
def test_an_event_has_the_time_at_which_its_word_is_decoded(served, words, name):
    if name == "aac":
        pytest.importorskip("av", reason="the extra 'aac' is not installed")
    _, body, _ = served.say(TEXT, stream_format="sse", marks=["word"], response_format=name)
    events = [json.loads(line[6:]) for line in body.decode().splitlines() if line]
    samples, rate = decoded(b"".join(base64.b64decode(event.get("audio", "")) for event in events), name)
    times_s = [event["time_ms"] / 1000 for event in events if event["type"] == "speech.audio.mark"]
    assert early(samples, rate, times_s) == pytest.approx(words, abs=NEAR_S)


@pytest.mark.parametrize("name", ["mp3_44100_128", "pcm_8000"])
def test_a_mark_of_the_plain_socket_has_it_too(served, words, name):
    with served.talk(PLAIN) as talk:
        talk.send(voice="tone", format=name, marks=["word"])
        talk.send(text=TEXT, end=True)
        messages = talk.until("done")
    samples, rate = decoded(audio_of(messages), name)
    times_s = [part["time_s"] for part in messages if isinstance(part, dict) and part["type"] == "mark"]
    assert early(samples, rate, times_s) == pytest.approx(words, abs=NEAR_S)


@pytest.mark.parametrize(
    "name",
    ["mp3_44100_128", "mp3_44100_32", "mp3_22050_32", "opus_48000_32", "pcm_24000", "pcm_8000", "ulaw_8000"],
)
def test_characters_count_from_where_their_messages_audio_begins_when_decoded(served, words, name):
    with served.talk(f"/v1/text-to-speech/tone/stream-input?output_format={name}") as talk:
        talk.send(text="Bad. Cab", flush=True)
        first = talk.receive()
        talk.send(text=". Deaf.")
        talk.send(text="")
        messages = [first, *talk.until_final()]
    data, begin_s, text, times_s = b"", 0.0, "", []
    for message in messages[:-1]:
        aligned = message["alignment"] or {"chars": [], "charStartTimesMs": []}
        for char, start_ms in zip(aligned["chars"], aligned["charStartTimesMs"], strict=True):
            if char.isupper():
                times_s.append(begin_s + start_ms / 1000)
            text += char
        if message["audio"]:
            data += base64.b64decode(message["audio"])
            samples, rate = decoded(data, name)
            begin_s = len(samples) / rate
    assert text == TEXT
    assert early(samples, rate, times_s) == pytest.approx(words, abs=NEAR_S)


@pytest.mark.parametrize("name", ["mp3_44100_32", "opus_48000_32", "pcm_8000"])
def test_all_is_heard_while_the_text_waits_and_what_follows_has_its_time(served, words, name):
    with served.talk(PLAIN) as talk:
        talk.send(voice="tone", format=name, marks=["word"])
        talk.send(text="Bad. Cab", flush=True)
        messages, heard_s = [talk.receive()], 0.0
        while heard_s < served.service.say("tone", "Bad. Cab").duration_s + DELAYS_S.get(name, 0.0) - NEAR_S:
            messages.append(talk.receive())
            samples, rate = decoded(audio_of(messages), name)
            heard_s = len(samples) / rate
        talk.send(text=". Deaf.", end=True)
        messages += talk.until("done")
    samples, rate = decoded(audio_of(messages), name)
    times_s = [part["time_s"] for part in messages if isinstance(part, dict) and part["type"] == "mark"]
    assert early(samples, rate, times_s) == pytest.approx(words, abs=NEAR_S)
