"""Run two branches on the same source, pass on the first, report how the second differs."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from voxstack.core.blocks import Stream, StreamableBlock, Timing
from voxstack.core.errors import Cancelled, VoxstackError, WiringError
from voxstack.core.events import Event, report
from voxstack.core.ports import Array, Ports, Tensors
from voxstack.core.site import Site
from voxstack.core.streams import length
from voxstack.stages.audio.diagnostics.passing import Place
from voxstack.stages.audio.diagnostics.shared_source import SharedSource

__all__ = ["Compare"]


@dataclass(frozen=True)
class Compare:
    """Two branches on one source: `a` is what is heard, `b` is held against it, port by port.

    Both are read in turn, so it takes the time of both. If b fails, that is reported, and a goes on.
    Steps are compared place by place; where b is shorter or longer, as far as both go.

    In:       what the branches consume; if they are heads, nothing
    Out:      what a gives
    Timing:   a's; it looks as far ahead as the one that looks further
    Reports:  compare, compare.failed
    Raises:   WiringError if b does not give what a gives
    """

    @dataclass(frozen=True)
    class Options:
        """`a` and `b` are one StreamableBlock each, or a StreamableStack; `name` stands in its events."""

        a: Any
        b: Any
        name: str | None = None

    branches: ClassVar[tuple[str, ...]] = ("a", "b")
    """Keys of the blocks that read the same source; the first's stream goes on, the others end here."""

    place: Place
    a: StreamableBlock
    b: StreamableBlock
    takes: Ports
    consumes: Ports | None
    gives: Ports
    timing: Timing

    @classmethod
    def wire(cls, options: Options, site: Site) -> "Compare":
        a = site.streamable(options.a, "a", tensors=site.tensors, source=site.source)
        b = site.streamable(options.b, "b", tensors=site.tensors, source=site.source)
        for key, branch in (("a", a), ("b", b)):
            if site.source is not None and branch.consumes is None:
                raise WiringError(
                    "it reads no stream, so what stands above would be lost; put Compare at the head",
                    where=f"{site.path}.{key}",
                )
        site.need(a.gives, b.gives, of="branch b")
        if a.timing.steps != b.timing.steps:
            raise WiringError(
                f"a gives {a.timing.steps} steps for one of the source, b {b.timing.steps}; "
                "want the same of both, to be compared place by place",
                where=site.path,
            )
        is_head = a.consumes is None and b.consumes is None
        consumes = None if is_head else {**(a.consumes or {}), **(b.consumes or {})}
        place = Place.of(site, options.name, a.gives)
        return cls(place, a, b, {**a.takes, **b.takes}, consumes, a.gives, _both(a.timing, b.timing))

    @property
    def blocks(self) -> tuple[StreamableBlock, StreamableBlock]:
        """Both branches."""
        return self.a, self.b

    def open(self, tensors: Tensors, source: Stream | None) -> Stream:
        mine, other = (None, None) if source is None else SharedSource(source).readers()
        try:
            heard = self.a.open(tensors, mine)
        except BaseException:
            for reader in (mine, other):
                if reader is not None:
                    reader.close()
            raise
        both = _Both(self, heard)
        both.compare_with(self.b, tensors, other)
        return both


def _both(a: Timing, b: Timing) -> Timing:
    """Return the timing of two branches that are read in turn."""
    ahead = None
    if a.lookahead is not None and b.lookahead is not None:
        ahead = max(a.lookahead, b.lookahead)
    return Timing(a.steps, left=a.left, right=a.right, lookahead=ahead)


class _Both:
    """One utterance's stream of a, with that of b beside it."""

    def __init__(self, block: Compare, heard: Stream) -> None:
        self._place = block.place
        self._heard: Stream | None = heard
        self._other: Stream | None = None
        self._differences = {name: _Difference() for name in block.gives}
        self._steps = self._other_steps = 0
        self._is_told = False

    def compare_with(self, b: StreamableBlock, tensors: Tensors, source: Stream | None) -> None:
        """Open b's stream; if that fails, a stays alone."""
        try:
            self._other = b.open(tensors, source)
        except BaseException as error:
            if source is not None:
                source.close()  # nobody reads it now: what is kept for a reader that is behind would grow
            if isinstance(error, VoxstackError) and not isinstance(error, Cancelled):
                self._fail(error)
                return
            self.close()
            raise

    def read(self, steps: int) -> Tensors:
        if self._heard is None:
            raise Cancelled("read after close")
        chunk = self._heard.read(steps)
        if not self._is_told:
            self._compare(chunk, steps)
        return chunk

    def close(self) -> None:
        for stream in (self._heard, self._other):
            if stream is not None:
                stream.close()
        self._heard = self._other = None

    def _compare(self, chunk: Tensors, steps: int) -> None:
        if self._other is None:
            return
        try:
            other = self._other.read(steps)
        except Cancelled:
            raise
        except VoxstackError as error:
            self._fail(error)
            return
        for name, difference in self._differences.items():
            difference.add(chunk[name], other[name], self._steps)
        self._steps += length(chunk)
        self._other_steps += length(other)
        if length(chunk) < steps:
            self._tell()

    def _fail(self, error: VoxstackError) -> None:
        """Go on with a alone."""
        other, self._other, self._is_told = self._other, None, True
        if other is not None:
            other.close()
        place = self._place
        text = f"{place.title}b failed at step {self._steps} and is compared no more: {error}"
        report(Event("compare.failed", place.name, place.frame(self._steps), text, {"step": self._steps}))

    def _tell(self) -> None:
        self._is_told = True
        place, more = self._place, self._other_steps - self._steps
        parts = [f"{name} {difference.text()}" for name, difference in self._differences.items()]
        if more:
            parts.append(f"b has {abs(more)} steps {'more' if more > 0 else 'fewer'}")
        values = {
            "steps": self._steps,
            "steps_of_b": self._other_steps,
            "ports": {name: difference.values() for name, difference in self._differences.items()},
        }
        text = f"{place.title}{'; '.join(parts)}"
        report(Event("compare", place.name, place.frame(self._steps), text, values))


class _Difference:
    """How b differs from a at one port, by sums."""

    def __init__(self) -> None:
        self._steps = self._differing = self._incomparable = 0
        self._first: int | None = None
        self._most = self._power = self._noise = 0.0

    def add(self, a: Array, b: Array, start: int) -> None:
        """Take the next steps, as far as both have them."""
        steps = min(len(a), len(b))
        self._steps += steps
        if not steps:
            return
        wanted = a[:steps].astype(np.float64).reshape(steps, -1)
        got = b[:steps].astype(np.float64).reshape(steps, -1)
        differs = (wanted != got) & ~(np.isnan(wanted) & np.isnan(got))
        rows = differs.any(axis=1)
        if rows.any() and self._first is None:
            self._first = start + int(rows.argmax())
        self._differing += int(rows.sum())
        both = np.isfinite(wanted) & np.isfinite(got)
        self._incomparable += int((differs & ~both).sum())
        distance = np.abs(wanted - got, where=both, out=np.zeros_like(wanted))
        self._most = max(self._most, float(distance.max(initial=0)))
        self._noise += float(np.square(distance).sum())
        self._power += float(np.square(wanted[both]).sum())

    @property
    def snr_db(self) -> float | None:
        """The power of a over that of the difference; None where nothing differs, or a is silent."""
        return 10 * math.log10(self._power / self._noise) if self._noise and self._power else None

    def values(self) -> dict[str, Any]:
        return {
            "is_equal": not self._differing,
            "differing_steps": self._differing,
            "first_step": self._first,
            "most": self._most,
            "snr_db": self.snr_db,
            "not_finite": self._incomparable,
        }

    def text(self) -> str:
        """Return it in words."""
        if not self._differing:
            return f"equal in all {self._steps} steps"
        parts = [
            f"differs in {self._differing} of {self._steps} steps, from step {self._first} on",
            f"by at most {self._most:.4g}",
        ]
        parts += [f"SNR {self.snr_db:.1f} dB"] if self.snr_db is not None else []
        parts += [f"{self._incomparable} not finite in one only"] if self._incomparable else []
        return ", ".join(parts)
