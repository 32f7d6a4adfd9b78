"""Hand on what flows, unchanged, and let somebody look at it on the way."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from voxstack.core.blocks import Stream, Timing
from voxstack.core.errors import Cancelled, WiringError, suggest
from voxstack.core.ports import Port, Ports, Tensors
from voxstack.core.site import Site
from voxstack.core.streams import length

__all__ = ["UTTERANCE", "Onlooker", "PassingBlock", "PassingStream", "Place", "number_of"]

UTTERANCE = Port("utterance", "int64", ())
"""The tensor that says which utterance of its request this is."""

USUAL_RATE = 100
"""Steps per second where nobody says how many there are; only bounds in seconds depend on it."""


@dataclass(frozen=True)
class Place:
    """Where somebody looks, and how what flows there is counted.

    In:       name   the one given to it, or its path in the JSON
              title  what its texts begin with: nothing, if it has no name of its own
              rate   steps per second of what flows, None where they have no fixed duration
              frame_rate  of the utterance's frames, None if it has none
    """

    name: str
    title: str
    rate: Fraction | None
    frame_rate: Fraction | None

    @classmethod
    def of(cls, site: Site, name: str | None, flow: Ports) -> "Place":
        """Return the place of a block at a site, where `flow` flows."""
        rates = (port.rate for port in flow.values() if port.rate is not None)
        frame_rate = site.frame_rate
        if frame_rate is None and site.mel is not None:
            frame_rate = Fraction(site.mel.sample_rate, site.mel.hop)
        title = "" if name is None else f"{name}: "
        return cls(site.path if name is None else name, title, next(rates, None), frame_rate)

    def frame(self, step: int) -> int:
        """Return the frame of the utterance in which a step lies: events are counted in frames."""
        if self.rate is None or self.frame_rate is None:
            return step
        return int(step * self.frame_rate / self.rate)

    def most(self, seconds: float) -> int:
        """Return how many steps are so many seconds, one at least."""
        return max(1, round(seconds * (self.rate or USUAL_RATE)))


class Onlooker(Protocol):
    """Somebody who looks at one utterance; must neither change nor keep the tensors that it is shown."""

    def look(self, chunk: Tensors, start: int) -> None:
        """Look at the next steps, one at least, of which the first is step `start`."""
        ...

    def end(self, steps: int) -> None:
        """Take notice that the utterance is over, after so many steps."""
        ...

    def close(self) -> None:
        """Free everything; the last call, and the only one after an utterance that was closed early."""
        ...


@dataclass(frozen=True)
class PassingBlock:
    """What blocks that only look have in common: they give the very ports that they consume.

    Timing:   1 → 1, no context
    """

    place: Place
    takes: Ports
    consumes: Ports | None
    gives: Ports
    timing: Timing

    @staticmethod
    def flow(site: Site) -> Ports:
        """Return what flows at a site; raise WiringError at the head of a stack, where nothing does."""
        if site.source is None:
            raise WiringError(
                "there is no stream above it to look at; put it below a block that gives one", where=site.path
            )
        return site.source

    @staticmethod
    def told(site: Site, names: Iterable[str] = ()) -> Ports:
        """Return the tensors of the utterance that are read: its number, and those of these names."""
        wanted = [*names, UTTERANCE.name]
        return {name: site.tensors[name] for name in wanted if name in site.tensors}

    @staticmethod
    def find(name: str, known: Ports, *, where: str) -> Port:
        """Return the port of that name; raise WiringError if there is none."""
        if name not in known:
            raise WiringError(f"no '{name}' flows here{suggest(name, known)}", where=where)
        return known[name]


class PassingStream:
    """A stream that gives what its source gives, the same objects, and shows them to an onlooker."""

    def __init__(self, source: Stream, onlooker: Onlooker) -> None:
        self._source: Stream | None = source
        self._onlooker = onlooker
        self._position = 0
        self._is_over = False

    def read(self, steps: int) -> Tensors:
        if self._source is None:
            raise Cancelled("read after close")
        chunk = self._source.read(steps)
        got = length(chunk)
        if got:
            self._onlooker.look(chunk, self._position)
            self._position += got
        if got < steps and not self._is_over:
            self._is_over = True
            self._onlooker.end(self._position)
        return chunk

    def close(self) -> None:
        if self._source is None:
            return
        self._source.close()
        self._source = None
        self._onlooker.close()


def number_of(tensors: Tensors) -> int:
    """Return which utterance of its request tensors belong to, 0 if nobody says."""
    return int(tensors.get(UTTERANCE.name, 0))
