"""Run nets on AWS Neuron (Inferentia, Trainium): every size fixed, all compiled ahead of time.

    compile    ONNX net ─► torch module ─► NeuronBackend.trace ─► TorchScript, the chip's code inside
    serve      file ─► NeuronBackend.load ─► runs on a core

What touches the vendor's package is neuron_vendor.py, which has never run on hardware where it was written.
All else is tested with a backend that computes on the CPU (neuron_stand_in.py).
"""

import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import SimpleQueue

import numpy as np
import torch
from torch.jit import TracerWarning  # pyright: ignore[reportPrivateImportUsage]

from voxstack.core.cancel import CancelScope
from voxstack.core.errors import Cancelled, ConfigError, NetError, suggest
from voxstack.core.executables import Choice, FixedAxes, Precision
from voxstack.core.layouts import BATCH
from voxstack.core.nets import NetSpec
from voxstack.core.ports import Array
from voxstack.runtimes.neuron_stand_in import StandIn
from voxstack.runtimes.neuron_vendor import NeuronBackend, Run, Tensor, Vendor
from voxstack.runtimes.torch_nets import module_of

__all__ = ["NAME", "NeuronExecutable", "NeuronRuntime"]

NAME = "neuron"
WHERE = f"runtime {NAME}"
OPTIONS = ("backend", "core")

FLAGS = {
    "f32": ("--auto-cast", "none"),
    "bf16": ("--auto-cast", "all", "--auto-cast-type", "bf16"),
    "f16": ("--auto-cast", "all", "--auto-cast-type", "fp16"),
}
"""Precision → flags of the compiler; by default it casts matrix products to bf16, which nobody asked for."""

INT32 = range(-(1 << 31), 1 << 31)
"""Whole numbers are computed in 32 bits there."""

TURNS: SimpleQueue[None] = SimpleQueue()
TURNS.put(None)


@dataclass(frozen=True)
class NeuronRuntime:
    """How Neuron runs nets.

    precision  the compiler is told to compute in
    core       on which the nets are put
    backend    the vendor's package, or what stands in for it
    threads    are not chosen here: the host only hands tensors over
    """

    threads: int = 1
    precision: Precision = "f32"
    core: int = 0
    backend: NeuronBackend = field(default_factory=Vendor)

    name = NAME
    needs_sizes = True
    needs_artefact = True
    keeps_threads = True
    bound_to = None
    locks_sizes = True

    @classmethod
    def choose(cls, choice: Choice) -> "NeuronRuntime":
        """Return the runtime that a profile asks for.

        In:       choice  its options are `core`, a number, and `backend`: "stand-in" computes on the CPU,
                          and refuses what a chip would refuse
        Raises:   ConfigError if this engine cannot do that; ImportError without the vendor's package
        """
        if choice.precision not in FLAGS:
            raise ConfigError(f"got precision '{choice.precision}', want {', '.join(FLAGS)}", where=WHERE)
        if choice.device not in ("cpu", NAME):
            raise ConfigError(f"got device '{choice.device}', want {NAME}", where=WHERE)
        options = dict(choice.options)
        for name in options:
            if name not in OPTIONS:
                raise ConfigError(f"no option '{name}'{suggest(name, OPTIONS)}", where=WHERE)
        core, backend = options.get("core", 0), options.get("backend", "vendor")
        if not isinstance(core, int) or isinstance(core, bool) or core < 0:
            raise ConfigError(f"got option core {core!r}, want a number from 0", where=WHERE)
        if backend not in ("vendor", "stand-in"):
            raise ConfigError(f"got option backend {backend!r}, want vendor or stand-in", where=WHERE)
        chosen: NeuronBackend = StandIn() if backend == "stand-in" else Vendor()
        _ = chosen.version  # a package that is missing, or no more than a stub, is an error here
        return cls(choice.threads, choice.precision, core, chosen)

    @property
    def version(self) -> str:
        return self.backend.version

    def build(self, spec: NetSpec, data: bytes, axes: FixedAxes) -> "NeuronExecutable":
        raise NetError(
            "nothing is compiled while serving; compile it: voxstack compile ADDON --profile P --out DIR",
            where=f"net '{spec.name}'",
        )

    def compile(self, spec: NetSpec, data: bytes, axes: FixedAxes) -> bytes:
        where = f"net '{spec.name}'"
        try:
            module = module_of(data, list(spec.inputs), list(spec.outputs))
            with torch.no_grad(), _all_traced():
                return self.backend.trace(module, _examples(spec, axes), FLAGS[self.precision])
        except (NetError, RuntimeError) as error:
            text = error.what if isinstance(error, NetError) else _first_line(error)
            raise NetError(f"cannot be compiled: {text}", where=where) from error

    def restore(self, spec: NetSpec, artefact: bytes, axes: FixedAxes) -> "NeuronExecutable":
        try:
            with _alone():
                run = self.backend.load(artefact, self.core)
        except RuntimeError as error:
            raise NetError(
                f"cannot be loaded on core {self.core}: {_first_line(error)}", where=f"net '{spec.name}'"
            ) from error
        return NeuronExecutable(spec, run, self)


class NeuronExecutable:
    """A compiled net on a core; the state of a recurrent net stays a tensor between steps."""

    def __init__(self, spec: NetSpec, run: Run, engine: NeuronRuntime) -> None:
        self._spec = spec
        self._run = run
        self._engine = engine

    @property
    def runtime(self) -> str:
        return f"{self._engine.backend.name} {self._engine.backend.version}"

    @property
    def precision(self) -> str:
        return self._engine.precision

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        results = self.run_values({name: self.value(array) for name, array in feeds.items()})
        return {name: self.array(value) for name, value in results.items()}

    def value(self, array: Array) -> Tensor:
        if array.dtype == np.int64 and array.size:
            for extreme in (array.min(), array.max()):
                if int(extreme) not in INT32:
                    raise NetError(
                        f"got the integer {extreme}, but Neuron computes int64 in 32 bits",
                        where=f"net '{self._spec.name}'",
                    )
        return torch.tensor(array)

    def array(self, value: Tensor) -> Array:
        return value.detach().contiguous().numpy().copy()

    def run_values(self, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Run once; a run that has begun cannot be stopped on the chip."""
        scope = CancelScope.current()
        _stop_if_cancelled(scope)
        try:
            with torch.inference_mode():
                results = self._run(*[feeds[name] for name in self._spec.inputs])
        except RuntimeError as error:
            shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in feeds.items())
            raise NetError(
                f"failed on {shapes}: {_first_line(error)}", where=f"net '{self._spec.name}'"
            ) from error
        _stop_if_cancelled(scope)
        values = results if isinstance(results, tuple | list) else (results,)
        named = zip(self._spec.outputs.items(), values, strict=True)
        return {name: value.to(getattr(torch, tensor.dtype)) for (name, tensor), value in named}


@contextmanager
def _all_traced() -> Generator[None, None, None]:
    """Refuse a trace into which went what the examples hold: it would be a constant of the net for ever."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("ignore")  # that TorchScript is deprecated: the vendor wants it
        warnings.simplefilter("always", TracerWarning)
        yield
    if told:
        what = str(told[0].message).partition(".")[0]
        raise NetError(f"how it computes depends on what its inputs hold: {what}")


def _stop_if_cancelled(scope: CancelScope | None) -> None:
    if scope is not None and scope.is_cancelled:
        raise Cancelled("the stream was closed")


@contextmanager
def _alone() -> Generator[None, None, None]:
    """Let one thread at a time put a net on a core: the vendor's way to choose one is not safe otherwise."""
    turn = TURNS.get()
    try:
        yield
    finally:
        TURNS.put(turn)


def _examples(spec: NetSpec, axes: FixedAxes) -> list[Tensor]:
    """Return inputs of an utterance that fills every size, in the order of the net's inputs."""
    sizes = {BATCH: 1, **axes}
    examples: list[Tensor] = []
    for name, tensor in spec.inputs.items():
        missing = [axis for axis in tensor.axes if isinstance(axis, str) and axis not in sizes]
        if missing:
            raise NetError(f"axis '{missing[0]}' of {name} has no fixed size")
        shape = [axis if isinstance(axis, int) else sizes[axis] for axis in tensor.axes]
        fill = 0
        if spec.ragged is not None and name == spec.ragged.mask:
            fill = 1
        elif spec.ragged is not None and name == spec.ragged.lengths:
            fill = axes[spec.ragged.axis]
        examples.append(torch.full(shape, fill, dtype=getattr(torch, tensor.dtype)))
    return examples


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
