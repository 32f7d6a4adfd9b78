"""What a page of a comparison shows of a voice is what the voice did."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from voxstack.cli.compare_plots import Plots, log_mel, mel_range
from voxstack.cli.compare_voice import speak
from voxstack.engine.nets import Running

pytestmark = pytest.mark.end_to_end

ADDONS = Path(__file__).parents[2] / "examples" / "addons"
TEXT = "Abc def. Ghi"


def spoken(name, text=TEXT, **controls):
    return speak(name, text, controls=controls, running=Running(), folders=(ADDONS,), vocoder=None)


def test_the_same_seed_is_the_same_audio_and_the_same_drawing():
    one, two = spoken("tone", seed=3), spoken("tone", seed=3)
    assert one.audio.samples.tobytes() == two.audio.samples.tobytes()
    assert Plots(1.0).mel(one) == Plots(1.0).mel(two)
    assert Plots(1.0).alignment(one) == Plots(1.0).alignment(two)


@pytest.mark.parametrize("name", ["tone", "tone-attention"])
def test_each_utterance_stands_where_it_is_heard(name):
    told = spoken(name, "Abc def. Ghi. Jkl")
    assert len(told.utterances) == 3
    rate = told.audio.sample_rate
    end = 0.0
    for utterance in told.utterances:
        assert utterance.start_s >= end
        pause = told.audio.samples[round(end * rate) : round(utterance.start_s * rate)]
        assert not pause.any()
        end = utterance.start_s + utterance.duration_s
        assert np.abs(told.audio.samples[round((end - 0.02) * rate) : round(end * rate)]).max() > 0.01
        assert len(utterance.mel) == pytest.approx(utterance.duration_s * 100)
        assert len(utterance.positions) == len(utterance.mel)
    assert end == pytest.approx(told.audio.duration_s)
    assert "".join(told.utterances[0].symbols) == "abc def"


def test_durations_say_which_symbol_each_frame_speaks():
    [utterance] = spoken("tone", "cba").utterances
    assert utterance.weights is None
    assert utterance.positions[0] == 0
    assert utterance.positions[-1] == 2
    # Letters are tones: the loudest band of each frame is its letter's.
    bands = utterance.mel.argmax(axis=1)
    inside = np.flatnonzero(np.diff(utterance.positions, prepend=-1, append=9)[:-1] == 0)
    np.testing.assert_array_equal(bands[inside], 2 - utterance.positions[inside])


def test_attention_is_kept_frame_by_frame():
    [utterance] = spoken("tone-attention", "abc").utterances
    assert utterance.weights.shape == (24, 3)
    np.testing.assert_array_equal(utterance.weights.argmax(axis=1), np.repeat([0, 1, 2], 8))


def test_a_mel_for_the_eye_shows_a_tone_where_it_is():
    rate = 16_000
    tone = np.sin(2 * np.pi * 1000 * np.arange(rate) / rate).astype(np.float32)
    tone[: rate // 2] = 0
    mel = log_mel(tone, rate)
    assert mel.shape == (101, 80)
    assert (mel.max(), mel.min()) == (0, -80)
    assert (mel[:45] == -80).all()
    # 1000 Hz are 1000 mel of 2840; bands are 2840 / 81 mel apart.
    assert mel[75].argmax() == pytest.approx(1000 / (2840 / 81) - 1, abs=1)
    assert log_mel(np.zeros(0, np.float32), rate).shape == (1, 80)


def test_an_utterance_without_frames_is_drawn_as_nothing():
    told = spoken("tone-attention", "Abc. Def")
    first, second = told.utterances
    none = replace(
        first,
        duration_s=0.0,
        mel=first.mel[:0],
        positions=first.positions[:0],
        weights=first.weights[:0],
    )
    for empty in (none, replace(none, weights=None)):
        told = replace(told, utterances=(empty, second))
        assert "<svg" in Plots(1.0).mel(told)
        assert "<svg" in Plots(1.0).alignment(told)


def test_colours_mean_the_same_where_mels_are_of_one_format_and_outliers_do_not_take_them():
    told = spoken("tone")
    [utterance] = spoken("tone", "abc").utterances
    mel = np.linspace(0, 1, 1000, dtype=np.float32).reshape(-1, 10)
    mel[0, 0], mel[-1, -1] = -1e9, 1e9
    told = replace(told, utterances=(replace(utterance, mel=mel),))
    assert mel_range([told]) == pytest.approx((0.01, 0.995), abs=0.002)
    louder = replace(told, utterances=(replace(utterance, mel=mel + 1),))
    alone, together = Plots(1.0).mel(told), Plots(1.0, [told, louder]).mel(told)
    assert alone != together
    assert Plots(1.0, [told, replace(louder, mel_format=None)]).mel(told) == alone
    low, high = mel_range([told, louder])
    assert (low, high) == pytest.approx((0.02, 1.99), abs=0.02)
