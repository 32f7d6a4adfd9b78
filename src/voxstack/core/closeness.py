"""Say how near one signal is to another: signal-to-noise ratio and log-spectral distance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voxstack.core.ports import Array

__all__ = ["Closeness", "closeness", "log_spectral_distance_db", "snr_db"]

FFT = 1024
FLOOR_DB = -90.0
"""Below the loudest bin. Rounding in a late layer is a hiss in the pauses, 60 to 90 dB down: with a floor of
-60 dB a voice that hisses measures as well as one that does not; heard, it is worse."""


@dataclass(frozen=True)
class Closeness:
    """How near utterances are to others: the median of SNRs, the mean of log-spectral distances."""

    snr_db: float
    spectral_db: float

    def is_within(self, *, least_snr_db: float, most_spectral_db: float) -> bool:
        return self.snr_db >= least_snr_db and self.spectral_db <= most_spectral_db

    def line(self) -> str:
        return f"SNR {self.snr_db:.1f} dB, log-spectral distance {self.spectral_db:.2f} dB"


def closeness(wanted: Sequence[Array], got: Sequence[Array]) -> Closeness:
    """Compare utterance by utterance."""
    pairs = list(zip(wanted, got, strict=True))
    return Closeness(
        float(np.median([snr_db(*pair) for pair in pairs])),
        float(np.mean([log_spectral_distance_db(*pair) for pair in pairs])),
    )


def snr_db(wanted: Array, got: Array) -> float:
    """Return the power of a signal over that of what differs from it, in dB; infinite if nothing does."""
    noise = float(np.square(wanted.astype(np.float64) - got).sum())
    power = float(np.square(wanted.astype(np.float64)).sum())
    return float("inf") if noise == 0 else 10 * float(np.log10(max(power, 1e-20) / noise))


def log_spectral_distance_db(wanted: Array, got: Array) -> float:
    """Return the mean over frames of the root mean square difference of log spectra, in dB.

    Source:   Rabiner and Juang 1993, §4.5; what lies 90 dB below the loudest bin counts as silence
    """
    if len(wanted) < FFT:
        return 0.0
    one, two = _log_spectrum(wanted), _log_spectrum(got)
    floor = one.max() + FLOOR_DB
    difference = np.maximum(one, floor) - np.maximum(two, floor)
    return float(np.sqrt(np.square(difference).mean(axis=1)).mean())


def _log_spectrum(samples: Array) -> Array:
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), FFT)[:: FFT // 4]
    power = np.square(np.abs(np.fft.rfft(frames * np.hanning(FFT), axis=1)))
    return 10 * np.log10(power + 1e-12)
