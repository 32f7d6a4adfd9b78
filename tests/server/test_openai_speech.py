"""The real OpenAI client gets, in every format, the speech that the voice makes by itself."""

import asyncio
import base64
import io
import json
import struct

import numpy as np
import openai
import pytest
import soundfile
import soxr

import voxstack
from voxstack.core.errors import RequestError
from voxstack.server.desk import Desk
from voxstack.server.settings import ServerSettings

pytestmark = pytest.mark.end_to_end

TEXT = "Bad cab. A badge, a beach."
LOSSLESS, LOSSY = ("wav", "flac", "pcm"), ("mp3", "opus", "aac")


@pytest.fixture(scope="module")
def client(served):
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as found:
        yield found


@pytest.fixture(scope="module")
def spoken(voices):
    """What the voice says by itself, 16-bit."""
    audio = voxstack.load("tone", folders=[voices]).say(TEXT)
    return np.rint(audio.samples * 32767).astype(np.int16)


def ask(client, **more):
    return client.audio.speech.create(model="tts-1", voice="tone", input=TEXT, **more)


def decoded(data, kind, samples=0):
    """Return float samples and their rate."""
    if kind == "pcm":
        return np.frombuffer(data, "<i2").astype(np.float32) / 32767, 24_000
    if kind == "aac":
        av = pytest.importorskip("av", reason="the extra 'aac' is not installed")
        with av.open(io.BytesIO(data)) as file:
            frames = [frame.to_ndarray()[0] for frame in file.decode(audio=0)]
            return np.concatenate(frames), file.streams.audio[0].rate
    if kind == "flac":
        data = with_length(data, samples)
    return soundfile.read(io.BytesIO(data), dtype="float32")


def is_alike(pcm, other):
    """Answer whether raw samples are the same, but for how a net rounds in chunks of another length."""
    a, b = (np.frombuffer(data, "<i2").astype(int) for data in (pcm, other))
    return len(a) == len(b) and np.abs(a - b).max() <= 2


def with_length(flac, samples):
    """Return a stream of FLAC with its length in its head: libsndfile reads none without."""
    assert int.from_bytes(flac[21:26], "big") & (1 << 36) - 1 == 0, "a stream cannot know its length"
    head = int.from_bytes(flac[18:26], "big") | samples
    return flac[:18] + head.to_bytes(8, "big") + flac[26:]


@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_a_lossless_format_holds_the_samples_of_the_voice(client, spoken, kind):
    samples, rate = decoded(ask(client, response_format=kind).content, kind, len(spoken))
    assert rate == 16_000
    assert np.abs(np.rint(samples * 32768) - spoken).max() <= 1


def test_raw_samples_come_at_24_kilohertz_as_openai_has_them(client, spoken):
    answer = ask(client, response_format="pcm")
    assert answer.response.headers["content-type"] == "audio/pcm; rate=24000; channels=1"
    samples, _ = decoded(answer.content, "pcm")
    wanted = soxr.resample(spoken.astype(np.float32) / 32767, 16_000, 24_000)
    assert abs(len(samples) - len(wanted)) <= 1
    n = min(len(samples), len(wanted))
    assert np.abs(samples[:n] - wanted[:n]).max() < 2e-3


@pytest.mark.parametrize("kind", LOSSY)
def test_a_lossy_format_has_the_length_and_the_energy_of_the_voice(client, spoken, kind):
    if kind == "aac":
        pytest.importorskip("av", reason="the extra 'aac' is not installed")
    samples, rate = decoded(ask(client, response_format=kind).content, kind)
    wanted_s = len(spoken) / 16_000
    assert wanted_s - 0.02 <= len(samples) / rate <= wanted_s + 0.2  # encoders begin with some silence
    energy = np.square(samples).sum() / rate
    wanted = np.square(spoken / 32767.0).sum() / 16_000
    assert energy == pytest.approx(wanted, rel=0.1)


def test_mp3_is_what_comes_where_nothing_is_said(client):
    answer = ask(client)
    assert answer.response.headers["content-type"] == "audio/mpeg"
    assert soundfile.info(io.BytesIO(answer.content)).format == "MP3"


def test_a_streamed_wav_says_that_its_length_is_unknown(client):
    head = ask(client, response_format="wav").content[:44]
    assert struct.unpack("<4sI4s", head[:12]) == (b"RIFF", 0xFFFFFFFF, b"WAVE")
    assert struct.unpack("<4sI", head[36:]) == (b"data", 0xFFFFFFFF)


@pytest.mark.parametrize("kind", ["mp3", "opus", "flac", "wav", "pcm"])
def test_audio_leaves_with_the_first_chunk_in_every_format(kind):
    from voxstack.server.encoding import FORMATS, open_encoder

    tone = 0.3 * np.sin(np.arange(1440) * 0.1).astype(np.float32)  # 90 ms
    encoder = open_encoder(FORMATS[kind], 16_000)
    head_bytes = {"opus": 900}.get(kind, 100)
    assert len(encoder.write(tone)) > head_bytes
    encoder.close()


def test_a_stream_is_written_to_a_file_while_it_comes(client, spoken, tmp_path):
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="tone", input=TEXT, response_format="wav"
    ) as answer:
        answer.stream_to_file(tmp_path / "said.wav")
    samples, _ = decoded((tmp_path / "said.wav").read_bytes(), "wav")
    assert len(samples) == len(spoken)


def test_the_asynchronous_client_streams(served, spoken):
    async def hear():
        async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none") as client:
            asking = client.audio.speech.with_streaming_response.create(
                model="tts-1", voice={"id": "tone"}, input=TEXT, response_format="wav"
            )
            async with asking as answer:
                return b"".join([part async for part in answer.iter_bytes()])

    samples, _ = decoded(asyncio.run(hear()), "wav")
    assert len(samples) == len(spoken)


def test_events_carry_the_audio_and_end_with_the_usage(client, served, spoken):
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="tone", input=TEXT, response_format="wav", stream_format="sse"
    ) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = [json.loads(line.removeprefix("data: ")) for line in answer.iter_lines() if line]
    assert [event["type"] for event in events[:-1]] == ["speech.audio.delta"] * (len(events) - 1)
    audio = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    assert len(decoded(audio, "wav")[0]) == len(spoken)
    made = round(len(spoken) / 16_000 * 20)
    assert events[-1] == {
        "type": "speech.audio.done",
        "usage": {"input_tokens": 26, "output_tokens": made, "total_tokens": 26 + made},
    }


@pytest.mark.parametrize("speed", [0.25, 0.5, 1.5, 2.0, 4.0])
def test_any_speed_of_the_api_is_spoken_beyond_what_the_voice_can_by_itself(client, speed):
    samples, _ = decoded(ask(client, response_format="wav", speed=speed).content, "wav")
    whole, _ = decoded(ask(client, response_format="wav").content, "wav")
    assert len(samples) == pytest.approx(len(whole) / speed, rel=0.12)  # the voice rounds frames


def test_within_the_voices_own_range_its_own_speed_is_used(client, voices):
    samples, _ = decoded(ask(client, response_format="wav", speed=1.5).content, "wav")
    own = voxstack.load("tone", folders=[voices]).say(TEXT, speed=1.5)
    assert np.abs(np.rint(samples * 32768) - np.rint(own.samples * 32767)).max() <= 1


def test_another_voice_is_another_voice(client, served):
    loud, quiet = (np.frombuffer(served.say(voice=name)[1], "<i2") for name in ("tone", "quiet"))
    assert np.abs(loud).max() > 1.5 * np.abs(quiet).max()


def test_seed_and_controls_go_to_the_voice(client, served):
    with pytest.raises(openai.BadRequestError, match="has no control 'sped'; did you mean 'speed'"):
        ask(client, extra_body={"controls": {"sped": 1.0}, "seed": 3})
    assert is_alike(served.say(controls={"speed": 2.0}, seed=5)[1], served.say(speed=2.0)[1])


def test_models_and_voices_are_listed(client, served):
    assert [model.id for model in client.models.list()] == [
        "voxstack",
        "tts-1",
        "tts-1-hd",
        "gpt-4o-mini-tts",
    ]
    assert client.models.retrieve("tts-1").owned_by == "voxstack"
    with pytest.raises(openai.NotFoundError, match="no model 'tts-2'; did you mean 'tts-1'"):
        client.models.retrieve("tts-2")
    rows = json.loads(served.ask("/v1/audio/voices")[1])["voices"]
    assert [(row["id"], row["status"]) for row in rows] == [("quiet", "ready"), ("tone", "ready")]
    assert rows[1]["controls"] == {"speed": {"default": 1.0, "min": 0.5, "max": 2.0, "choices": {}}}
    assert rows[1]["languages"] == ["x-tone"]


def test_another_name_of_a_voice_finds_it(serve):
    served = serve(aliases={"alloy": "tone"})
    assert is_alike(served.say(voice="alloy")[1], served.say(voice="tone")[1])


@pytest.mark.parametrize(
    ("alias", "voice", "why"),
    [
        ("alloy", "tome", "alias alloy: no voice 'tome'; did you mean 'tone'?"),
        ("tone", "quiet", "alias tone: a voice has this name; choose another"),
    ],
)
def test_another_name_of_no_voice_or_that_hides_one_is_refused(voices, alias, voice, why):
    with pytest.raises(RequestError) as caught:
        Desk.of(ServerSettings(addons=(str(voices),), aliases={alias: voice})).load()
    assert str(caught.value) == why


def test_another_name_of_a_voice_that_is_not_there_yet_says_so(serve):
    served = serve(aliases={"alloy": "tome"}, watch=True)
    assert served.error(voice="alloy")[1]["message"] == "voice: 'alloy' stands for 'tome', which is not there"
