"""Keep what is wrong with a stack instead of raising it, so that a broken stack can be looked at."""

from dataclasses import dataclass, field

from voxstack.core.blocks import Stream, Timing
from voxstack.core.errors import VoxstackError, WiringError
from voxstack.core.ports import Port, Ports, Tensors

__all__ = ["END", "Fault", "Faults", "Unwired"]

END = "end"
"""Where a fault stands that belongs to no block: what shall follow the stack is not there or does not fit."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: at which block, what, and which port nobody gives if it is that.

    `follows` says that it may only be a consequence: something above is wrong, so what flows from there
    is not known. A wrong value in a block's own options is never a consequence.
    """

    path: str
    message: str
    port: str | None = None
    follows: bool = False


@dataclass
class Faults:
    """What was found wrong while a stack was wired, in the order in which it was found.

    An unmet need is written down and taken as met, so that what stands below is known too. A block
    that cannot be wired at all is replaced by an `Unwired`.
    """

    found: list[Fault] = field(default_factory=list[Fault])
    unwired: list[str] = field(default_factory=list[str])

    def unmet(self, path: str, port: str, error: WiringError) -> None:
        """Note that nobody gives what a block wants; below a block that is not wired, that is no news."""
        if not self.unwired:
            self.found.append(Fault(path, str(error), port))

    def broken(self, path: str, error: VoxstackError, *, branches: tuple[str, ...] = ()) -> "Unwired":
        """Note that a block cannot be wired; return what stands in its place.

        That it does not fit after a need of its own was not met is no news.
        """
        if not (isinstance(error, WiringError) and self.at(path)):
            self.note(path, error)
        self.unwired.append(path)
        return Unwired(branches=branches)

    def note(self, path: str, error: VoxstackError) -> None:
        """Note what is wrong with a block that stands there all the same."""
        self.found.append(
            Fault(path, str(error), follows=isinstance(error, WiringError) and bool(self.found))
        )

    def is_certain(self, path: str) -> bool:
        """Return whether something at a path is wrong by itself, or nothing is wrong there at all."""
        found = self.at(path)
        return not found or not all(fault.follows for fault in found)

    def at(self, path: str) -> list[Fault]:
        """Return what is wrong with the block at a path."""
        return [fault for fault in self.found if fault.path == path]


@dataclass(frozen=True)
class Unwired:
    """A block that could not be wired: what it takes and gives is not known, and it does nothing."""

    takes: Ports = field(default_factory=dict[str, Port])
    gives: Ports = field(default_factory=dict[str, Port])
    consumes: Ports | None = field(default_factory=dict[str, Port])
    timing: Timing = Timing()  # noqa: RUF009 - frozen
    branches: tuple[str, ...] = ()

    def run(self, tensors: Tensors) -> Tensors:
        raise WiringError("it could not be wired, so it cannot run")

    def open(self, tensors: Tensors, source: Stream | None) -> Stream:
        raise WiringError("it could not be wired, so it cannot run")
