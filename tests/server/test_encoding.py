"""An encoder knows where in what it gave a decoder finds each sample, and how much that is by now."""

import io

import numpy as np
import pytest
import soundfile

from voxstack.engine.audio import RATES
from voxstack.server.encoding import open_encoder
from voxstack.server.output_formats import OUTPUT_FORMATS, output_format

pytestmark = pytest.mark.unit

CHUNKS_S = (0.03, 0.2, 0.005, 0.3, 0.2)
CLICKS_S = (0.15, 0.4, 0.6)
RAW = {"pcm": "PCM_16", "ulaw": "ULAW", "alaw": "ALAW"}

NAMES = ("mp3", "opus", "aac", "flac", "wav", "pcm", "mp3_22050_32", "mp3_44100_32", "mp3_44100_128")
MORE = ("opus_48000_32", "pcm_8000", "wav_44100", "ulaw_8000", "alaw_8000")


def clicks(rate: int) -> np.ndarray:
    """Return 20 ms of 1 kHz around each moment, as the chunks of a voice."""
    moments = np.arange(round(sum(CHUNKS_S) * rate)) / rate
    near = [np.clip(np.abs(moments - click) / 0.01, 0, 1) for click in CLICKS_S]
    rises = sum(np.cos(np.pi / 2 * distance) ** 2 for distance in near)
    return (0.6 * rises * np.cos(2 * np.pi * 1000 * (moments - CLICKS_S[0]))).astype(np.float32)


def encoded(name: str, rate: int):
    """Yield an encoder and all that it gave by then, chunk after chunk."""
    encoder = open_encoder(output_format(name), rate)
    data, samples = b"", clicks(rate)
    for chunk in np.split(samples, (np.cumsum(CHUNKS_S[:-1]) * rate).astype(int)):
        data += encoder.write(chunk)
        yield encoder, data
    yield encoder, data + encoder.end()


def decoded(data: bytes, name: str, rate: int) -> tuple[np.ndarray, int]:
    """Return what a decoder makes of a stream's beginning, however much it is."""
    kind = name.split("_", maxsplit=1)[0]
    if kind in RAW:
        raw = {"format": "RAW", "subtype": RAW[kind], "channels": 1, "samplerate": rate}
        return soundfile.read(io.BytesIO(data), **raw) if data else (np.zeros(0), rate)
    if kind in ("aac", "flac"):  # libsndfile reads none of the one, and of the other none without its length
        av = pytest.importorskip("av", reason="the extra 'aac' is not installed")
        try:
            with av.open(io.BytesIO(data)) as file:
                frames = [frame.to_ndarray()[0] for frame in file.decode(audio=0)]
        except av.error.FFmpegError:
            return np.zeros(0), rate
        return np.concatenate([np.zeros(0), *frames]), rate
    try:
        return soundfile.read(io.BytesIO(data))
    except soundfile.LibsndfileError:  # not even its head by now
        return np.zeros(0), rate


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100])
@pytest.mark.parametrize("name", [*NAMES, *MORE])
def test_a_decoder_finds_each_sample_as_much_later_as_the_encoder_says(name, rate):
    *_, (encoder, data) = encoded(name, rate)
    samples, found_rate = decoded(data, name, output_format(name).rate(rate))
    for click_s in CLICKS_S:
        about = round((click_s + encoder.delay_s) * found_rate)
        near = range(about - found_rate // 20, about + found_rate // 20)
        energy = np.square(samples[near.start : near.stop])
        middle = np.average(near, weights=energy) / found_rate
        assert middle == pytest.approx(click_s + encoder.delay_s, abs=0.001)


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100])
@pytest.mark.parametrize("name", [*NAMES, *MORE])
def test_an_encoder_knows_how_much_audio_is_in_what_it_gave(name, rate):
    amounts = []
    for encoder, data in encoded(name, rate):
        samples, found_rate = decoded(data, name, output_format(name).rate(rate))
        assert encoder.decoded_s == pytest.approx(len(samples) / found_rate, abs=0.5 / found_rate)
        amounts.append(encoder.decoded_s)
    assert amounts[-1] >= sum(CHUNKS_S) + encoder.delay_s - 0.001
    assert amounts == sorted(amounts)


@pytest.mark.parametrize("rate", RATES[".mp3"])
def test_mp3_is_delayed_by_as_many_samples_at_each_rate(rate):
    *_, (encoder, data) = encoded("mp3", rate)
    samples, _ = decoded(data, "mp3", rate)
    assert encoder.delay_s * rate == 1105
    assert len(samples) % 576 == 0
    assert np.abs(samples[: 1105 + rate // 10]).max() < 0.05 < np.abs(samples).max()


def test_a_format_that_holds_the_samples_as_they_are_has_no_delay():
    for name in OUTPUT_FORMATS:
        if name.startswith(("pcm", "wav", "flac", "opus", "ulaw", "alaw")):
            assert open_encoder(output_format(name), 22_050).delay_s == 0
