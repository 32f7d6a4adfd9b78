"""Weigh frequencies as ears do: the two filters of BS.1770, at any sample rate."""

import math

import numpy as np

from voxstack.stages.audio.biquads import Sections

__all__ = ["k_weighting"]

HEAD_HZ, HEAD_DB, HEAD_Q = 1681.974450955533, 3.999843853973347, 0.7071752369554196
"""A shelf: what a head does to sound."""

LOW_HZ, LOW_Q = 38.13547087602444, 0.5003270373238773
"""A high pass: ears hear little that is low."""

TABLE_RATE = 48000.0
"""Of the coefficients in the recommendation."""


def k_weighting(rate: float) -> Sections:
    """Return both filters as sections.

    In:       rate  samples per second
    Source:   ITU-R BS.1770-5, annex 1, whose coefficients at 48 kHz these formulae give;
              Mansbridge, Finn and Reiss 2012 for the analogue values
    """
    return np.stack([_shelf(rate), _high_pass(rate)])


def _shelf(rate: float) -> Sections:
    k = math.tan(math.pi * HEAD_HZ / rate)
    high = 10 ** (HEAD_DB / 20)
    band = high**0.4996667741545416
    scale = 1 + k / HEAD_Q + k * k
    return np.array(
        [
            (high + band * k / HEAD_Q + k * k) / scale,
            2 * (k * k - high) / scale,
            (high - band * k / HEAD_Q + k * k) / scale,
            1.0,
            2 * (k * k - 1) / scale,
            (1 - k / HEAD_Q + k * k) / scale,
        ]
    )


def _high_pass(rate: float) -> Sections:
    k, scale = _low(rate)
    # The table has 1 -2 1, which passes 0.04 dB too much; at another rate it shall be as much, not more.
    b = _low(TABLE_RATE)[1] / scale
    return np.array([b, -2 * b, b, 1.0, 2 * (k * k - 1) / scale, (1 - k / LOW_Q + k * k) / scale])


def _low(rate: float) -> tuple[float, float]:
    k = math.tan(math.pi * LOW_HZ / rate)
    return k, 1 + k / LOW_Q + k * k
