"""Describe an ONNX operator as torch runs it, and one use of it in a net."""

import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from voxstack.core.errors import NetError
from voxstack.core.ports import Array

__all__ = [
    "FLOATS",
    "TYPES",
    "Node",
    "Operator",
    "Refusal",
    "constant",
    "dtype_of",
    "is_traced",
    "known",
    "numpy_dtype",
    "sizes",
]

TYPES = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    4: torch.uint16,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
    12: torch.uint32,
    13: torch.uint64,
    16: torch.bfloat16,
}
"""ONNX's number of a dtype → torch's. Source: TensorProto.DataType in onnx.proto3."""

FLOATS = (torch.float32, torch.float16, torch.bfloat16)
"""Dtypes that become the one in which a module computes."""


@dataclass(frozen=True, slots=True)
class Node:
    """One use of an operator in a net.

    takes, gives  whether each of its inputs is given, each of its outputs wanted
    """

    op: str
    opset: int
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    takes: tuple[bool, ...] = ()
    gives: tuple[bool, ...] = (True,)

    def get(self, name: str, default: Any = None) -> Any:
        return self.attributes.get(name, default)

    def has(self, place: int) -> bool:
        """Whether the input at a place is given."""
        return place < len(self.takes) and self.takes[place]

    def wants(self, place: int) -> bool:
        """Whether somebody reads the output at a place."""
        return place < len(self.gives) and self.gives[place]


Refusal = Callable[[Node], str]
"""Says what of a node cannot be run, or ""."""


def _all_of_it(node: Node) -> str:
    del node
    return ""


@dataclass(frozen=True, slots=True)
class Operator:
    """How torch runs an operator: `function(node, *inputs)` gives a tensor, or a tuple of them.

    A value is a tensor, or a small numpy array that is known without running anything: sizes and what
    follows from them. A function is given tensors, but for:

    known    places of inputs that it takes as numpy arrays
    numbers  places of inputs that it takes as numpy arrays where they are known and of rank 0
    scalars  it takes numbers in the place of arrays of one element
    places   its second argument is an empty tensor, of the device and dtype in which the net computes
    refuses  what of a node it cannot run, known when a net is loaded
    """

    function: Callable[..., Any]
    known: tuple[int, ...] = ()
    numbers: tuple[int, ...] = ()
    scalars: bool = False
    places: bool = False
    refuses: Refusal = _all_of_it


def sizes(value: torch.Tensor | Array) -> list[int]:
    """Return a shape as plain numbers, also while torch.jit.trace would make tensors of them."""
    if not (isinstance(value, torch.Tensor) and is_traced()):
        return list(value.shape)
    with _constants_wanted():
        return [int(size) for size in value.shape]


def is_traced() -> bool:
    """Whether torch.jit.trace is looking."""
    return torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage] - public in torch's documents


@contextmanager
def _constants_wanted() -> Generator[None, None, None]:
    """Keep torch.jit.trace from warning of what becomes a constant: at fixed sizes that is right."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # pyright: ignore[reportPrivateImportUsage]
        yield


def dtype_of(number: int, like: torch.Tensor) -> torch.dtype:
    """Return torch's dtype for ONNX's number; floats are what the net computes in.

    A net that computes in f32 keeps its f64; any other has only one kind of float.
    """
    dtype = TYPES[number]
    is_like = dtype in FLOATS or (dtype == torch.float64 and like.dtype != torch.float32)
    return like.dtype if is_like else dtype


def constant(array: Array, device: torch.device, dtype: torch.dtype | None = None) -> torch.Tensor:
    """Return an array as a tensor that is the same in every run at these sizes."""
    dtype = dtype or numpy_dtype(array)
    if array.ndim == 0 and dtype != torch.bool:
        return torch.full((), array.item(), dtype=dtype, device=device)  # no copy to a device
    with _constants_wanted() if is_traced() else nullcontext():
        return torch.tensor(array.tolist(), dtype=dtype).reshape(array.shape).to(device)


def numpy_dtype(array: Array) -> torch.dtype:
    """Return torch's name for the dtype of a numpy array."""
    return getattr(torch, array.dtype.name)


def known(value: torch.Tensor | Array) -> Array:
    """Return a value as numpy; where torch computed it, this waits for it.

    Raises:   NetError if there are no values yet, because the net is being exported
    """
    if isinstance(value, torch.Tensor) and torch.compiler.is_exporting():
        raise NetError("its sizes follow from the values that it is given")
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
