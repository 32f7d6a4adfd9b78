"""How near one signal is to another."""

import numpy as np
import pytest

from voxstack.core.closeness import closeness, log_spectral_distance_db, snr_db

pytestmark = pytest.mark.unit


def test_snr_is_power_over_power():
    signal = np.sin(np.arange(4000) / 7).astype(np.float32)
    assert snr_db(signal, signal) == float("inf")
    assert snr_db(signal, 1.01 * signal) == pytest.approx(40, abs=0.01)


def test_log_spectral_distance_of_a_louder_signal_is_how_much_louder_it_is():
    noise = np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    assert log_spectral_distance_db(noise, noise) == 0
    assert log_spectral_distance_db(noise, noise * 10 ** (3 / 20)) == pytest.approx(3, abs=0.05)


def test_a_hiss_in_the_pauses_is_far_though_the_signal_is_near():
    signal = np.sin(np.arange(22050) / 10).astype(np.float32)
    signal[5000:17000] *= np.float32(1e-4)
    hissing = signal + np.random.default_rng(0).standard_normal(signal.size).astype(np.float32) * np.float32(
        2e-3
    )

    assert snr_db(signal, hissing) > 45
    assert log_spectral_distance_db(signal, hissing) > 3
    assert log_spectral_distance_db(signal, signal) == 0


def test_utterances_are_compared_one_by_one():
    signal = np.sin(np.arange(4000) / 7).astype(np.float32)
    found = closeness([signal, signal, signal], [1.01 * signal, 1.1 * signal, 1.001 * signal])
    assert found.snr_db == pytest.approx(40, abs=0.1)
    assert found.is_within(least_snr_db=39, most_spectral_db=1)
    assert not found.is_within(least_snr_db=41, most_spectral_db=1)
    assert not found.is_within(least_snr_db=39, most_spectral_db=0.05)
