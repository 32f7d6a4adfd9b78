"""Choose the scales of 8-bit integers: those that leave the least squared error, not the whole range.

activation   uint8, one scale and zero point a tensor:      x ≈ (q - zero) · scale,  q in 0..255
weight       int8, one scale an output channel, zero at 0:  w ≈ q · scale,           q in -127..127
"""

import numpy as np
from numpy.typing import NDArray

from voxstack.importers.quantising.ranges import Seen

__all__ = ["activation_scale", "round_weight", "weight_scales"]

LEVELS = 255
MOST = 127
CLIPS = np.linspace(1.0, 0.3, 29)
"""Shares of the range of an activation that are tried: a few great values may be clipped for finer steps."""

WEIGHT_CLIPS = np.linspace(1.0, 0.7, 13)


def activation_scale(seen: Seen) -> tuple[np.float32, np.uint8]:
    """Return scale and zero point; zero itself is always a number that 8 bits hold, for padding."""
    low, high = min(float(seen.low.min()), 0.0), max(float(seen.high.max()), 0.0)
    best = (float("inf"), np.float32(1), np.uint8(0))
    for clip in CLIPS:
        scale = np.float32(max((high - low) * clip / LEVELS, 1e-9))
        zero = np.clip(np.round(-low * clip / scale), 0, LEVELS)
        rounded = (np.clip(np.round(seen.values / scale) + zero, 0, LEVELS) - zero) * scale
        error = float(np.square(rounded - seen.values).mean(dtype=np.float64))
        if error < best[0]:
            best = (error, scale, np.uint8(zero))
    return best[1], best[2]


def weight_scales(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a scale for each output channel, the first axis."""
    rows = weight.reshape(len(weight), -1)
    greatest = np.maximum(np.abs(rows).max(axis=1), 1e-12)
    scales = greatest / MOST
    least = np.full(len(rows), np.inf)
    for clip in WEIGHT_CLIPS:
        tried = greatest * clip / MOST
        rounded = np.clip(np.round(rows / tried[:, None]), -MOST, MOST) * tried[:, None]
        error = np.square(rounded - rows).sum(axis=1, dtype=np.float64)
        scales, least = np.where(error < least, tried, scales), np.minimum(error, least)
    return scales.astype(np.float32)


def round_weight(weight: NDArray[np.float32], scales: NDArray[np.float32]) -> NDArray[np.int8]:
    """Return a weight as integers of its scales."""
    by_row = scales.reshape(-1, *([1] * (weight.ndim - 1)))
    return np.clip(np.round(weight / by_row), -MOST, MOST).astype(np.int8)
