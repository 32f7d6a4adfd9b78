"""Say what an engine must offer, so that nets run on it: compile, keep what was compiled, run it.

    net (ONNX bytes) ── build ──────────────────────────► Executable      now, in memory
                     └─ compile ──► artefact ── restore ─► Executable      ahead of time, at serving time

One Executable accepts one set of sizes, or any. `core.compiled` makes a Net of one or several.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from voxstack.core.nets import NetSpec
from voxstack.core.ports import Array

__all__ = ["Choice", "Engine", "Executable", "FixedAxes", "Option", "Precision"]

FixedAxes: TypeAlias = Mapping[str, int]
"""Sizes by the names of axes, "batch" among them; an axis that is not there may have any size."""

Precision: TypeAlias = Literal["f32", "bf16", "f16", "int8"]
Option: TypeAlias = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Choice:
    """What a profile chooses for a net, beside the engine and the sizes.

    device     where it runs, in the engine's words: "cpu", "gpu", "cuda:1" …
    precision  what it computes in
    threads    that one run may use
    options    of the engine's own, sorted by name
    """

    device: str = "cpu"
    precision: Precision = "f32"
    threads: int = 1
    options: tuple[tuple[str, Option], ...] = ()


class Executable(Protocol):
    """A net that an engine has compiled; tensors in the net's own layout; safe from many threads.

    Values are an engine's own tensors, on its device: the state of a recurrent net stays one.
    """

    @property
    def runtime(self) -> str:
        """The engine, its version, and the provider or device that really runs the net."""
        ...

    @property
    def precision(self) -> str:
        """What the net really computes in: "f32", "bf16" …."""
        ...

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run once; raise NetError, or Cancelled if the current CancelScope was cancelled."""
        ...

    def value(self, array: Array) -> Any:
        """Return an engine's own value, which shares no memory with the array."""
        ...

    def array(self, value: Any) -> Array: ...

    def run_values(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Run once on the engine's own values; what comes out stays there."""
        ...


class Engine(Protocol):
    """One way to run nets: an engine with its device, precision, threads and options chosen.

    An Engine is a frozen dataclass: two that are equal make the same of the same net. Its class has
    `choose(choice)`, which returns one or raises ConfigError.
    """

    @property
    def name(self) -> str:
        """What a profile calls it."""
        ...

    @property
    def version(self) -> str:
        """The version of the engine's library, and of its compiler if that is another."""
        ...

    @property
    def needs_sizes(self) -> bool:
        """Whether every size must be fixed before anything is compiled."""
        ...

    @property
    def needs_artefact(self) -> bool:
        """Whether it never compiles while it serves."""
        ...

    @property
    def locks_sizes(self) -> bool:
        """Whether each size is compiled by itself; if not, one executable that takes any serves them all."""
        ...

    @property
    def bound_to(self) -> tuple[str, ...] | None:
        """Features of a processor that must be as they were where it compiled; None: any machine will do."""
        ...

    @property
    def keeps_threads(self) -> bool:
        """Whether a run computes in threads that are not its caller's: their priority is not his."""
        ...

    def build(self, spec: NetSpec, data: bytes, axes: FixedAxes) -> Executable:
        """Make a net ready now.

        Raises:   NetError if the net cannot be compiled, or does not run where it was told to
        """
        ...

    def compile(self, spec: NetSpec, data: bytes, axes: FixedAxes) -> bytes:
        """Return a compiled net, to be kept as a file; raise NetError."""
        ...

    def restore(self, spec: NetSpec, artefact: bytes, axes: FixedAxes) -> Executable:
        """Make a compiled net ready, without compiling anything; raise NetError."""
        ...
