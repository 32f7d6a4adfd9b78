"""Sum up what listeners met: first audio, gaps, throughput, underruns, failures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from voxstack.testing.load.listener import Heard

__all__ = ["LoadReport"]

PERCENTILES = (50, 90, 95, 99)


@dataclass(frozen=True)
class LoadReport:
    """What became of all requests at one number of streams.

    streams        listeners at a time
    wall_s         from the first request to the end of the last
    heard          the requests that were answered to their end; all times and throughput are of these
    errors         what failed: message → how often
    refused        answers that said "later"; each was waited for, and the request made again
    refused_wait_s for how long, all streams together
    peak_rss_mb    most memory that this process ever held, None where it cannot be told
    """

    streams: int
    wall_s: float
    heard: Sequence[Heard]
    errors: Mapping[str, int] = field(default_factory=dict[str, int])
    refused: int = 0
    refused_wait_s: float = 0.0
    peak_rss_mb: float | None = None

    @property
    def failed(self) -> int:
        """How many requests failed."""
        return sum(self.errors.values())

    @property
    def requests(self) -> int:
        """How many requests were made, answered or not."""
        return len(self.heard) + self.failed

    @property
    def audio_s(self) -> float:
        """Seconds of audio that were heard, all streams together."""
        return sum(one.audio_s for one in self.heard)

    @property
    def audio_s_per_s(self) -> float:
        """Throughput: seconds of audio in a second."""
        return self.audio_s / self.wall_s if self.wall_s else 0.0

    @property
    def underruns(self) -> int:
        """How often playback ran dry, all streams together."""
        return sum(one.underruns for one in self.heard)

    @property
    def underruns_percent(self) -> float | None:
        """Which share of the answered requests ran dry at least once; None if none was answered."""
        if not self.heard:
            return None
        return 100 * sum(one.underruns > 0 for one in self.heard) / len(self.heard)

    def first_audio_ms(self, percentile: float) -> float | None:
        """Return a percentile of first audio, between two requests where it falls between; None if none."""
        return _percentile([one.first_audio_ms for one in self.heard], percentile)

    def is_carried(self, *, within_ms: float) -> bool:
        """Tell whether nobody failed, was refused or ran dry, and p95 of first audio is below `within_ms`."""
        p95 = self.first_audio_ms(95)
        is_whole = not (self.failed or self.refused or self.underruns)
        return is_whole and p95 is not None and p95 < within_ms

    def row(self) -> dict[str, Any]:
        """Return it all as JSON holds it, with units in the names."""
        firsts = [one.first_audio_ms for one in self.heard]
        gaps = [gap for one in self.heard for gap in one.inter_chunk_ms]
        return {
            "streams": self.streams,
            "requests": self.requests,
            "errors": self.failed,
            "refused": self.refused,
            "refused_wait_s": round(self.refused_wait_s, 3),
            "first_audio_mean_ms": _rounded(float(np.mean(firsts)) if firsts else None),
            **{f"first_audio_p{of}_ms": _rounded(_percentile(firsts, of)) for of in PERCENTILES},
            "inter_chunk_p95_ms": _rounded(_percentile(gaps, 95)),
            "whole_mean_ms": _rounded(float(np.mean([o.whole_ms for o in self.heard])) if firsts else None),
            "audio_s": round(self.audio_s, 3),
            "wall_s": round(self.wall_s, 3),
            "audio_s_per_s": round(self.audio_s_per_s, 3),
            "rtf": round(self.wall_s / self.audio_s, 5) if self.audio_s else None,
            "underruns": self.underruns,
            "underruns_percent": _rounded(self.underruns_percent),
            "dry_ms": round(sum(one.dry_ms for one in self.heard), 2),
            "peak_rss_mb": _rounded(self.peak_rss_mb),
            "error_texts": dict(self.errors),
        }


def _percentile(values: Sequence[float], percentile: float) -> float | None:
    return float(np.percentile(values, percentile)) if values else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
