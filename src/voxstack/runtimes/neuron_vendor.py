"""Touch the vendor's package for AWS Neuron, and say what may stand in for it."""

import importlib.metadata
import io
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import torch

__all__ = ["NeuronBackend", "Run", "Tensor", "Vendor"]

STUB = "WRONG PACKAGE"
"""What the packages of this name on the public index raise when they are imported."""

COMPILER = "neuronx-cc"
"""The distribution that holds the vendor's compiler."""

Tensor = torch.Tensor
Run: TypeAlias = Callable[..., Any]


class NeuronBackend(Protocol):
    """What compiles and runs traced modules; tensors on the CPU go in and come out, in one order."""

    @property
    def name(self) -> str:
        """What really runs, for people."""
        ...

    @property
    def version(self) -> str:
        """The versions of library and compiler."""
        ...

    def trace(self, module: torch.nn.Module, examples: Sequence[Tensor], flags: Sequence[str]) -> bytes:
        """Return a module compiled for tensors of just these shapes, dtypes and order."""
        ...

    def load(self, artefact: bytes, core: int) -> Run:
        """Put a compiled module on a core; nothing is compiled. Called by one thread at a time."""
        ...


class Vendor:
    """The vendor's package, imported when it is first needed."""

    name = "neuron"

    @property
    def version(self) -> str:
        try:
            compiler = importlib.metadata.version(COMPILER)
        except importlib.metadata.PackageNotFoundError:
            compiler = "none"
        return f"{self._package().__version__} (compiler {compiler})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vendor)

    def __hash__(self) -> int:
        return hash(Vendor)

    def trace(self, module: torch.nn.Module, examples: Sequence[Tensor], flags: Sequence[str]) -> bytes:
        traced = self._package().trace(module, tuple(examples), compiler_args=list(flags))
        data = io.BytesIO()
        torch.jit.save(traced, data)
        return data.getvalue()

    def load(self, artefact: bytes, core: int) -> Run:
        package = self._package()
        loaded = torch.jit.load(io.BytesIO(artefact))
        package.experimental.set_neuron_cores(loaded, start_nc=core, nc_count=1)
        return loaded

    def _package(self) -> Any:
        try:
            import torch_neuronx  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            if STUB in str(error):
                raise ImportError(
                    "the installed torch_neuronx is a stub of that name; remove it, and install the vendor's "
                    "from the vendor's own package repository"
                ) from error
            raise ImportError(
                f"{str(error).partition(chr(10))[0]}; torch_neuronx is the vendor's and in no extra: "
                "install it from the vendor's own package repository"
            ) from error
        return torch_neuronx
