"""Raise and lower parts of the spectrum, by a chain of second-order filters."""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from voxstack.core.errors import ConfigError, suggest
from voxstack.core.site import Site
from voxstack.stages.audio.biquads import LEAST_HZ, Filter, Sections, require_scipy
from voxstack.stages.audio.sampled import samples_above

__all__ = ["Equaliser"]

KINDS = ("highpass", "lowpass", "peak", "lowshelf", "highshelf")
WITH_GAIN = KINDS[2:]
KEYS = ("kind", "frequency_hz", "gain_db", "q")
BUTTERWORTH_Q = math.sqrt(0.5)
MOST_GAIN_DB = 40.0
LEAST_Q, MOST_Q = 0.05, 50.0


@dataclass(frozen=True)
class Equaliser(Filter):
    """Sections one behind the other; each sample depends on those before it, so it adds no delay.

    In:       samples  float32 [n]
    Out:      samples  float32 [n]
    Timing:   1 → 1, left as far as the slowest section remembers (to -120 dB), looks not ahead
    Source:   Bristow-Johnson, Cookbook formulae for audio equalizer biquad filter coefficients
    Raises:   ConfigError if a section makes no sense at this sample rate, or scipy is not installed;
              WiringError without a sample rate
    """

    @dataclass(frozen=True)
    class Options:
        """`sections` are objects of four keys.

        kind          highpass, lowpass, peak, lowshelf or highshelf
        frequency_hz  corner or middle, in Hz
        gain_db       of a peak or a shelf, in dB
        q             how narrow; default 0.707, of which a pass has no bump
        """

        sections: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @classmethod
    def wire(cls, options: Options, site: Site) -> "Equaliser":
        require_scipy(site.path)
        port, rate = samples_above(site)
        if not options.sections:
            raise ConfigError("got no section, want at least one", where=f"{site.path}.sections")
        rows = [
            _section(section, rate, path=f"{site.path}.sections[{place}]")
            for place, section in enumerate(options.sections)
        ]
        return cls(np.stack(rows), {"samples": port})


def _section(section: Mapping[str, Any], rate: Fraction, *, path: str) -> Sections:
    for key in section:
        if key not in KEYS:
            raise ConfigError(f"unknown key '{key}'{suggest(key, KEYS)}", where=f"{path}.{key}")
    kind = section.get("kind")
    if kind not in KINDS:
        raise ConfigError(f"got {kind!r}, want one of {', '.join(KINDS)}", where=f"{path}.kind")
    if "gain_db" in section and kind not in WITH_GAIN:
        raise ConfigError(f"a {kind} has no gain; leave it out", where=f"{path}.gain_db")
    nyquist = float(rate) / 2
    frequency = _number(section, "frequency_hz", None, -math.inf, math.inf, path=path)
    if not LEAST_HZ <= frequency < nyquist:
        raise ConfigError(
            f"got {frequency:g} Hz, want {LEAST_HZ:g} or more and less than {nyquist:g}, "
            "half the sample rate",
            where=f"{path}.frequency_hz",
        )
    gain_db = (
        _number(section, "gain_db", None, -MOST_GAIN_DB, MOST_GAIN_DB, path=path)
        if kind in WITH_GAIN
        else 0.0
    )
    q = _number(section, "q", BUTTERWORTH_Q, LEAST_Q, MOST_Q, path=path)
    return _biquad(kind, frequency / float(rate), gain_db, q)


def _number(
    section: Mapping[str, Any], key: str, default: float | None, low: float, high: float, *, path: str
) -> float:
    value = section.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        got = "nothing" if value is None else repr(value)
        wanted = f" from {low:g} to {high:g}" if high < math.inf else ""
        raise ConfigError(f"got {got}, want a number{wanted}", where=f"{path}.{key}")
    return float(min(max(value, -sys.float_info.max), sys.float_info.max))  # a whole number may be larger


def _biquad(kind: str, turn: float, gain_db: float, q: float) -> Sections:
    """Return one section; `turn` is the frequency in cycles per sample."""
    a = 10 ** (gain_db / 40)
    w = 2 * math.pi * turn
    cos, alpha = math.cos(w), math.sin(w) / (2 * q)
    root = 2 * math.sqrt(a) * alpha
    match kind:
        case "lowpass":
            b = ((1 - cos) / 2, 1 - cos, (1 - cos) / 2)
            below = (1 + alpha, -2 * cos, 1 - alpha)
        case "highpass":
            b = ((1 + cos) / 2, -(1 + cos), (1 + cos) / 2)
            below = (1 + alpha, -2 * cos, 1 - alpha)
        case "peak":
            b = (1 + alpha * a, -2 * cos, 1 - alpha * a)
            below = (1 + alpha / a, -2 * cos, 1 - alpha / a)
        case _:
            # A high shelf is a low one with the spectrum turned around: the sign of the cosine.
            s = 1 if kind == "lowshelf" else -1
            b = (
                a * ((a + 1) - s * (a - 1) * cos + root),
                s * 2 * a * ((a - 1) - s * (a + 1) * cos),
                a * ((a + 1) - s * (a - 1) * cos - root),
            )
            below = (
                (a + 1) + s * (a - 1) * cos + root,
                -s * 2 * ((a - 1) + s * (a + 1) * cos),
                (a + 1) + s * (a - 1) * cos - root,
            )
    return np.array([*b, *below]) / below[0]
