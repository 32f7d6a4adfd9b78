"""Measure what flows: range, mean, what is not finite, what clips, what is silent."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from voxstack.core.blocks import Stream, Timing
from voxstack.core.errors import ConfigError
from voxstack.core.events import Event, report
from voxstack.core.ports import Array, Port, Tensors
from voxstack.core.site import Site
from voxstack.stages.audio.diagnostics.passing import PassingBlock, PassingStream, Place

__all__ = ["Probe"]


@dataclass(frozen=True)
class Probe(PassingBlock):
    """Measure each port of the stream above and report it once an utterance is over; memory for no frame.

    What is not finite, and the first sample that reaches full scale, is reported at once too.

    In:       anything
    Out:      the same
    Timing:   1 → 1, no context
    Reports:  probe, probe.not_finite, probe.clipping
    Raises:   ConfigError if silence_db is no level below full scale
    """

    @dataclass(frozen=True)
    class Options:
        """`name` stands in its events; samples whose level is below `silence_db` count as silence."""

        name: str | None = None
        silence_db: float = -60.0

    silence: float

    @classmethod
    def wire(cls, options: Options, site: Site) -> "Probe":
        if not -200 <= options.silence_db < 0:
            raise ConfigError(
                f"got {options.silence_db} dB, want less than 0, at least -200",
                where=f"{site.path}.silence_db",
            )
        flow = cls.flow(site)
        silence = 10 ** (options.silence_db / 20)
        return cls(Place.of(site, options.name, flow), {}, flow, flow, Timing(), silence)

    def open(self, tensors: Tensors, source: Stream | None) -> Stream:
        assert source is not None
        return PassingStream(source, _Measuring(self))


class _Measuring:
    """The measures of one utterance."""

    def __init__(self, block: Probe) -> None:
        self._place = block.place
        self._measures = {name: _Measure(port, block.silence) for name, port in block.gives.items()}

    def look(self, chunk: Tensors, start: int) -> None:
        for name, measure in self._measures.items():
            for kind, step, text in measure.add(chunk[name], start):
                self._report(f"probe.{kind}", step, f"{name} {text}", {"port": name, "step": step})

    def end(self, steps: int) -> None:
        text = "; ".join(f"{name} {measure.text()}" for name, measure in self._measures.items())
        values = {name: measure.values() for name, measure in self._measures.items()}
        self._report("probe", steps, text, {"ports": values})

    def close(self) -> None:
        pass

    def _report(self, kind: str, step: int, text: str, values: Mapping[str, Any]) -> None:
        place = self._place
        report(Event(kind, place.name, place.frame(step), f"{place.title}{text}", values))


class _Measure:
    """The measures of one port, by sums that need none of what was summed."""

    def __init__(self, port: Port, silence: float) -> None:
        self._is_audio = port.axes == ("samples",) and port.dtype.startswith("float")
        self._silence = silence
        self._shape: tuple[int, ...] = tuple(axis for axis in port.axes[1:] if isinstance(axis, int))
        self._steps = self._finite = self._nan = self._inf = self._clipped = self._silent = 0
        self._low, self._high, self._sum = math.inf, -math.inf, 0.0

    def add(self, tensor: Array, start: int) -> list[tuple[str, int, str]]:
        """Measure the next steps; return what is to be told at once: kind, step, in words."""
        found: list[tuple[str, int, str]] = []
        values = tensor.astype(np.float64).reshape(len(tensor), -1)
        is_finite = np.isfinite(values)
        if not (is_finite.all() or self._nan or self._inf):
            step = int((~is_finite).any(axis=1).argmax())
            what = values[step][~is_finite[step]][0]
            found.append(("not_finite", start + step, f"is {what} from step {start + step} on"))
        if self._is_audio:
            loudness = np.abs(values[:, 0])
            clips = loudness >= 1
            if clips.any() and not self._clipped:
                step = int(clips.argmax())
                text = f"reaches full scale at step {start + step}, with {values[step, 0]:.4g}"
                found.append(("clipping", start + step, text))
            self._clipped += int(clips.sum())
            self._silent += int((loudness < self._silence).sum())
        self._count(tensor, values, is_finite)
        return found

    def _count(self, tensor: Array, values: Array, is_finite: Array) -> None:
        self._shape = tensor.shape[1:]
        self._steps += len(values)
        self._nan += int(np.isnan(values).sum())
        self._inf += int(np.isinf(values).sum())
        good = values[is_finite]
        self._finite += good.size
        if good.size:
            self._low = min(self._low, float(good.min()))
            self._high = max(self._high, float(good.max()))
            self._sum += float(good.sum())

    def values(self) -> dict[str, Any]:
        """Return the measures; `clipped` and `silence_share` are there for samples only."""
        has_any = self._finite > 0
        measured: dict[str, Any] = {
            "steps": self._steps,
            "shape": list(self._shape),
            "low": self._low if has_any else None,
            "high": self._high if has_any else None,
            "mean": self._sum / self._finite if has_any else None,
            "nan": self._nan,
            "inf": self._inf,
        }
        if self._is_audio:
            share = self._silent / self._steps if self._steps else None
            measured |= {"clipped": self._clipped, "silence_share": share}
        return measured

    def text(self) -> str:
        """Return the measures in words."""
        size = " × ".join(map(str, (self._steps, *self._shape)))
        parts = [size]
        if self._finite:
            mean = self._sum / self._finite
            parts.append(f"{self._low:.4g} to {self._high:.4g}, mean {mean:.3g}")
        parts += [f"{count} {what}" for count, what in ((self._nan, "NaN"), (self._inf, "Inf")) if count]
        if self._is_audio and self._steps:
            parts += [f"{self._clipped} at full scale"] if self._clipped else []
            parts.append(f"{self._silent / self._steps:.0%} silence")
        return ", ".join(parts)
