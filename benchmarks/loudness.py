"""Measure loudness against piper-tts's default, which normalises every sentence to a peak of 1.

    python benchmarks/loudness.py

Loudness is that of ITU-R BS.1770 without gating: K-weighted mean square, in LUFS.
"""

import statistics

import numpy as np
import peer
import texts
from scipy.signal import lfilter, resample_poly

import voxstack


def loudness(samples: np.ndarray, rate: int) -> float:
    """Return LUFS; the filters' coefficients are those for 48 kHz."""
    samples = resample_poly(samples.astype(np.float64), 48_000, rate)
    shelf = lfilter(
        [1.53512485958697, -2.69169618940638, 1.19839281085285],
        [1, -1.69065929318241, 0.73248077421585],
        samples,
    )
    weighted = lfilter([1.0, -2.0, 1.0], [1, -1.99004745483398, 0.99007225036621], shelf)
    return -0.691 + 10 * np.log10(np.mean(weighted**2))


def main() -> None:
    piper, voice = peer.load(), voxstack.load("joe", threads=1)
    differences, peaks = [], []
    for number, text in enumerate([*texts.varied(20), *texts.TEXTS.values()]):
        ours = voice.say(text, seed=number).samples
        theirs = np.concatenate(list(peer.speak(piper, text)))
        differences.append(loudness(ours, 22050) - loudness(theirs, 22050))
        peaks.append(np.abs(ours).max())
    print(
        f"voxstack − piper-tts over {len(differences)} texts: median {statistics.median(differences):+.2f} LU, "
        f"from {min(differences):+.2f} to {max(differences):+.2f}; highest peak {max(peaks):.3f}"
    )


if __name__ == "__main__":
    main()
