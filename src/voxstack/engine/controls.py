"""Check the controls that a request has chosen, and make of them the tensors that blocks read."""

import math
import sys
from collections.abc import Iterable, Mapping
from typing import TypeGuard

import numpy as np

from voxstack.core.errors import RequestError, suggest
from voxstack.core.ports import Array
from voxstack.stack.config import ControlConfig

__all__ = ["SEED", "check_names", "control_tensors"]

SEED = "seed"
"""What every voice takes beside its own controls."""

SEED_BITS = 63


def check_names(voice: str, known: Iterable[str], given: Iterable[str]) -> None:
    """Raise RequestError for the first control that a voice does not have."""
    names = [*known, SEED]
    for name in given:
        if name not in names:
            raise RequestError(
                f"voice '{voice}' has no control '{name}'{suggest(name, names)}", where="controls"
            )


def control_tensors(
    voice: str, known: Mapping[str, ControlConfig], controls: Mapping[str, float | str]
) -> dict[str, Array]:
    """Return a request's controls, and those that it leaves as they are, as tensors without axes.

    Raises:   RequestError if the voice lacks one, or its value is out of range
    """
    check_names(voice, known, controls)
    tensors: dict[str, Array] = {"seed": np.array(_seed(controls.get("seed", 0)), np.int64)}
    for name, control in known.items():
        value = controls.get(name, control.default)
        where = f"controls.{name}"
        low = -math.inf if control.min is None else control.min
        high = math.inf if control.max is None else control.max
        if isinstance(value, str):
            if value not in control.choices:
                hint = suggest(value, control.choices) or f", want a number from {low:g} to {high:g}"
                raise RequestError(f"got '{value}'{hint}", where=where)
            value = control.choices[value]
        if not _is_number(value):
            raise RequestError(f"got {value!r}, want a number from {low:g} to {high:g}", where=where)
        if not (math.isfinite(value) and low <= value <= high):
            raise RequestError(f"got {value:g}, want {low:g} to {high:g}", where=where)
        if control.dtype == "int64" and value != int(value):
            raise RequestError(f"got {value:g}, want a whole number", where=where)
        tensors[name] = np.array(value, control.dtype)
    return tensors


def _seed(value: object) -> int:
    if not (
        _is_number(value) and math.isfinite(value) and value == int(value) and 0 <= value < 1 << SEED_BITS
    ):
        raise RequestError(
            f"got {value!r}, want a whole number from 0 to 2^{SEED_BITS} - 1", where="controls.seed"
        )
    return int(value)


def _is_number(value: object) -> TypeGuard[float]:
    if isinstance(value, bool) or (isinstance(value, int) and abs(value) > sys.float_info.max):
        return False
    return isinstance(value, int | float | np.integer | np.floating)
