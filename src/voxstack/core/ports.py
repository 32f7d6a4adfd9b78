"""Name what flows between blocks: tensors, and the ports that promise their dtype, axes and rate."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "Axis", "MelFormat", "Port", "Ports", "Tensors", "differences", "ports"]

Array: TypeAlias = npt.NDArray[Any]
Tensors: TypeAlias = Mapping[str, Array]
Axis: TypeAlias = str | int
Ports: TypeAlias = Mapping[str, "Port"]


UNITS = {"sample_rate": " Hz", "hop": " samples", "fmin": " Hz", "fmax": " Hz"}


@dataclass(frozen=True, slots=True)
class MelFormat:
    """Say how a mel-spectrogram was made; two nets that share mels must agree on all of it.

    rate in Hz, hop in samples, fmin and fmax in Hz, log one of "e", "10", "db";
    normalisation names an affine map of the log mels ("none" if there is none).
    """

    sample_rate: int
    hop: int
    bands: int
    fmin: float
    fmax: float
    log: str = "e"
    normalisation: str = "none"


@dataclass(frozen=True, slots=True)
class Port:
    """Promise a tensor: its name, dtype, axes (time first, no batch) and exact rate.

    A named axis ("frames") may have any size, a number fixes it. `rate` counts steps of the
    first axis per second, None where they have no fixed duration (phonemes). `sequential` says that
    each step is made from the last, so that whoever asks for more than is wanted now waits for it.
    """

    name: str
    dtype: str
    axes: tuple[Axis, ...]
    rate: Fraction | None = None
    mel: MelFormat | None = None
    sequential: bool = False

    def __str__(self) -> str:
        rate = "" if self.rate is None else f" at {float(self.rate):g} Hz"
        return f"{self.name} {self.dtype} [{', '.join(map(str, self.axes))}]{rate}"

    def renamed(self, name: str) -> "Port":
        return replace(self, name=name)

    def fault(self, tensor: Array) -> str | None:
        """Return what is wrong with `tensor` for this port, or None."""
        if tensor.dtype != np.dtype(self.dtype):
            return f"{self.name}: got dtype {tensor.dtype}, want {self.dtype}"
        if tensor.ndim != len(self.axes):
            return f"{self.name}: got shape {list(tensor.shape)}, want [{', '.join(map(str, self.axes))}]"
        for size, axis in zip(tensor.shape, self.axes, strict=True):
            if isinstance(axis, int) and size != axis:
                return f"{self.name}: got shape {list(tensor.shape)}, want [{', '.join(map(str, self.axes))}]"
        return None


def ports(items: Iterable[Port]) -> Ports:
    """Index ports by their names."""
    return {port.name: port for port in items}


def differences(given: Port, wanted: Port) -> list[str]:
    """List, a line each, where two ports do not fit; an empty list means that they do.

    A named axis fits any size and any name but the other end's first axis must be named the same;
    rates and mel formats count only where both ends state them.
    """
    found: list[str] = []
    if given.dtype != wanted.dtype:
        found.append(f"dtype: {given.dtype} → {wanted.dtype}")
    if len(given.axes) != len(wanted.axes):
        found.append(f"axes: {list(given.axes)} → {list(wanted.axes)}")
    else:
        for place, (have, want) in enumerate(zip(given.axes, wanted.axes, strict=True)):
            both_sizes = isinstance(have, int) and isinstance(want, int)
            both_names = isinstance(have, str) and isinstance(want, str)
            if have != want and (both_sizes or (both_names and place == 0)):
                found.append(f"axis {place}: {have} → {want}")
    if given.rate is not None and wanted.rate is not None and given.rate != wanted.rate:
        found.append(f"rate: {given.rate} → {wanted.rate} Hz")
    if given.mel is not None and wanted.mel is not None:
        for field in fields(MelFormat):
            have, want = getattr(given.mel, field.name), getattr(wanted.mel, field.name)
            if have != want:
                found.append(f"{field.name}: {have} → {want}{UNITS.get(field.name, '')}")
    return found
